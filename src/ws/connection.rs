//! One client, from `welcome` to goodbye, in one task with one timer.
//!
//! The loop writes what can be written, then waits for whichever comes first: the timer, room in the socket, a page
//! of the ledger, a message, or a wake-up because there is something to send. While too many requests are unanswered
//! the socket is not read: the client's own backlog slows nobody else.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use raidhall_protocol::decode::{DecodeError, decode};
use raidhall_protocol::server::WelcomeLimits;
use raidhall_protocol::{ClientMessage, CloseCode, Codec, ServerMessage};
use tokio::time::{Instant, sleep_until};
use tracing::debug;
use uuid::Uuid;

use super::Sockets;
use super::inbound::{Inbound, Received};
use super::outbound::Outbound;
use super::requests::{Done, excess_frame};
use super::subscriber::{Ending, Viewer};
use crate::auth::Identity;
use crate::error::Error;
use crate::fanout::frame;
use crate::fanout::outbox::ConnectionId;
use crate::limits::rate::Rate;
use crate::raid::Refusal;

/// Heartbeats without a byte from the client before it counts as gone.
const SILENT_HEARTBEATS: u32 = 2;
/// Messages over the rate limit in a row before the connection is closed.
const FLOOD: u32 = 200;

pub(super) struct Connection {
    pub(super) viewer: Viewer,
    codec: Codec,
    /// Names the connection in `welcome` and in the logs.
    pub(super) session: Uuid,
    rate: Rate,
    /// When the allowance of `rate` is full again.
    rate_full_at: Instant,
    over_limit: u32,
    silent: u32,
    received: u64,
    /// What has to be done before the next message is read.
    pub(super) errand: Option<BoxFuture<'static, Done>>,
    /// The answer to the latest ping; it stands for those to earlier ones (RFC 6455 section 5.5.3).
    pong: Option<Bytes>,
    /// What the client is told that sent too much.
    excess: Option<Bytes>,
}

impl Connection {
    pub(super) fn new(
        sockets: Sockets,
        id: ConnectionId,
        codec: Codec,
        identity: Identity,
    ) -> Self {
        // Evenly as many as the limit says, and a burst of what two seconds give.
        let commands = sockets
            .0
            .options
            .commands_per_second
            .get()
            .saturating_mul(2);
        Self {
            viewer: Viewer::new(sockets, id, codec, identity),
            codec,
            session: Uuid::now_v7(),
            rate: Rate::new(commands, Duration::from_secs(2)),
            rate_full_at: Instant::now(),
            over_limit: 0,
            silent: 0,
            received: 0,
            errand: None,
            pong: None,
            excess: None,
        }
    }

    pub(super) fn welcome(&self) -> ServerMessage {
        let options = &self.viewer.sockets.0.options;
        ServerMessage::Welcome {
            player: self.viewer.identity.player.clone(),
            session: self.session.to_string(),
            now: self.viewer.sockets.0.clock.now(),
            heartbeat_ms: u64::try_from(options.heartbeat.as_millis()).unwrap_or(u64::MAX),
            limits: WelcomeLimits {
                message_bytes: options.message_bytes as u64,
                commands_per_second: u64::from(options.commands_per_second.get()),
                watches: options.watches as u64,
            },
            lineage: self.viewer.sockets.0.lineage.clone(),
        }
    }

    pub(super) async fn run(&mut self, inbound: &mut Inbound, outbound: &mut Outbound) -> Ending {
        debug!(session = %self.session, subject = self.viewer.identity.subject, "welcome");
        outbound.push(frame::message(self.codec, &self.welcome()));
        let timer = sleep_until(self.viewer.next_timer(outbound.queue()));
        tokio::pin!(timer);
        loop {
            if let Some(ending) = self.viewer.ending() {
                return ending;
            }
            if self.write_at_once(outbound).is_err() {
                return Ending::Gone;
            }
            let next = self.viewer.next_timer(outbound.queue());
            if next < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(next);
            }
            let blocked = !outbound.is_empty();
            let reads = self.reads();
            tokio::select! { biased;
                () = self.viewer.outbox.ended() => {}
                () = &mut timer => {
                    if let Err(ending) = self.on_timer(inbound, outbound) {
                        return ending;
                    }
                }
                written = outbound.write(), if blocked => {
                    if written.is_err() {
                        return Ending::Gone;
                    }
                }
                (ticket, events) = self.viewer.pages.next(), if self.viewer.pages.is_reading() => {
                    if let Err(ending) = self.viewer.show_page(ticket, events, outbound.queue()) {
                        return ending;
                    }
                }
                done = done(&mut self.errand), if self.errand.is_some() => {
                    self.errand = None;
                    self.after(done);
                }
                received = inbound.next(), if reads => {
                    if let Err(ending) = self.on_received(received) {
                        return ending;
                    }
                }
                () = self.viewer.outbox.woken(), if !blocked => {}
            }
        }
    }

    /// Gathers and writes until nothing is left or the socket takes no more.
    fn write_at_once(&mut self, outbound: &mut Outbound) -> std::io::Result<()> {
        loop {
            if outbound.is_empty() {
                self.pong
                    .take()
                    .into_iter()
                    .chain(self.excess.take())
                    .for_each(|frame| outbound.push(frame));
                self.viewer.gather(outbound.queue());
            }
            if outbound.is_empty() {
                return Ok(());
            }
            match outbound.write().now_or_never() {
                Some(written) => written?,
                None => return Ok(()),
            }
        }
    }

    /// Whether the client may ask for more: not before an errand is done, since messages are handled in order.
    fn reads(&self) -> bool {
        self.errand.is_none()
            && self.viewer.watches.pending() < self.viewer.sockets.0.options.outbox_messages
    }

    fn on_received(&mut self, received: Received) -> Result<(), Ending> {
        match received {
            Received::Message(message) => self.on_message(&message),
            Received::Ping(payload) => {
                self.pong = Some(frame::pong(&payload));
                Ok(())
            }
            Received::Pong => Ok(()),
            Received::Excess(excess, wait) => {
                self.excess = Some(excess_frame(self.codec, excess, wait));
                Ok(())
            }
            Received::Fault(code) => Err(Ending::Close(code)),
            Received::Gone => Err(Ending::Gone),
        }
    }

    fn on_message(&mut self, frame: &Bytes) -> Result<(), Ending> {
        let decoded = decode(self.codec, frame);
        if matches!(decoded, Ok(ClientMessage::Beat)) {
            return Ok(());
        }
        if let Err(DecodeError::Undecodable(reason)) = decoded {
            debug!(reason, "undecodable frame");
            return Err(Ending::Close(CloseCode::BadMessage));
        }
        match self.rate.charge(self.rate_full_at, Instant::now()) {
            Ok(full_at) => self.rate_full_at = full_at,
            Err(exceeded) => return self.over_limit(decoded, exceeded.retry_after),
        }
        self.over_limit = 0;
        match decoded {
            Ok(message) => self.request(message),
            Err(DecodeError::Invalid(invalid)) => {
                let error = Error::Refused(Refusal::Invalid(invalid.fields));
                self.refuse(&invalid.re, invalid.id, invalid.raid, &error);
                Ok(())
            }
            Err(DecodeError::Undecodable(_)) => Ok(()),
        }
    }

    fn over_limit(
        &mut self,
        decoded: Result<ClientMessage, DecodeError>,
        wait: Duration,
    ) -> Result<(), Ending> {
        self.over_limit += 1;
        if self.over_limit > FLOOD {
            return Err(Ending::Close(CloseCode::RateLimited));
        }
        let (re, id, raid) = match decoded {
            Ok(message) => (message.t().to_owned(), message.id(), message.raid()),
            Err(DecodeError::Invalid(invalid)) => (invalid.re, invalid.id, invalid.raid),
            Err(DecodeError::Undecodable(_)) => return Ok(()),
        };
        let wait = wait.max(Duration::from_millis(1));
        self.refuse(&re, id, raid, &Error::RateLimited(wait));
        Ok(())
    }

    fn on_timer(&mut self, inbound: &Inbound, outbound: &mut Outbound) -> Result<(), Ending> {
        let beats = self.viewer.on_timer(outbound.queue())?;
        if beats {
            self.heartbeat(inbound, outbound)
        } else {
            Ok(())
        }
    }

    /// Counted, not timed: a stall of the server delays its own heartbeats and is never the client's fault.
    fn heartbeat(&mut self, inbound: &Inbound, outbound: &mut Outbound) -> Result<(), Ending> {
        let received = inbound.received();
        // A client that is still taking what we write, or that we do not read, cannot show life in another way.
        let busy = !outbound.is_empty() || !self.reads();
        self.silent = if received == self.received && !busy {
            self.silent + 1
        } else {
            0
        };
        self.received = received;
        if self.silent >= SILENT_HEARTBEATS {
            return Err(Ending::Close(CloseCode::HeartbeatTimeout));
        }
        if outbound.is_empty() {
            let beat = ServerMessage::Beat {
                now: self.viewer.sockets.0.clock.now(),
                heads: self.viewer.watches.heads(),
            };
            outbound.push(frame::ping());
            outbound.push(frame::message(self.codec, &beat));
        }
        Ok(())
    }
}

async fn done(errand: &mut Option<BoxFuture<'static, Done>>) -> Done {
    match errand {
        Some(errand) => errand.await,
        None => std::future::pending().await,
    }
}
