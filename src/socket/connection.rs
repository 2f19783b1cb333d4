//! One client, from `welcome` to goodbye, in one task with one timer.
//!
//! The loop writes what can be written, then waits for whichever comes first: the timer, room in the socket, a page
//! of the ledger, a message, or a wake-up because there is something to send. While too many requests are unanswered
//! the socket is not read: the client's own backlog slows nobody else.

use super::Sockets;
use super::greeting::Ending;
use super::inbound::{Inbound, Received};
use super::outbound::Outbound;
use super::pages::Pages;
use super::requests::excess_frame;
use super::watches::{Need, Watches};
use crate::auth::Identity;
use crate::error::Error;
use crate::frame;
use crate::outbox::{ConnectionId, Outbox, Ticket};
use crate::raid::Refusal;
use crate::rate::Rate;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use raidhall_protocol::decode::{DecodeError, decode};
use raidhall_protocol::server::WelcomeLimits;
use raidhall_protocol::{ClientMessage, CloseCode, Codec, Event, ServerMessage};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tracing::debug;
use uuid::Uuid;

/// Heartbeats without a byte from the client before it counts as gone.
const SILENT_HEARTBEATS: u32 = 2;
/// Messages over the rate limit in a row before the connection is closed.
const FLOOD: u32 = 200;

pub(super) struct Connection {
    pub(super) sockets: Sockets,
    codec: Codec,
    pub(super) outbox: Arc<Outbox>,
    pub(super) identity: Identity,
    pub(super) watches: Watches,
    /// Names the connection in `welcome` and in the logs.
    session: Uuid,
    rate: Rate,
    /// When the allowance of `rate` is full again.
    rate_full_at: Instant,
    over_limit: u32,
    heartbeat_at: Instant,
    /// When the token has ended for good.
    pub(super) token_ends: Instant,
    silent: u32,
    received: u64,
    /// When a drain lets this client go.
    drain_at: Option<Instant>,
    pages: Pages,
    /// A token that renews the connection's, being looked at.
    pub(super) renewal: Option<BoxFuture<'static, Result<Identity, Error>>>,
    /// The answer to the latest ping; it stands for those to earlier ones (RFC 6455 section 5.5.3).
    pong: Option<Bytes>,
    /// What the client is told that sent too much.
    excess: Option<Bytes>,
}

impl Connection {
    pub(super) fn new(sockets: Sockets, id: ConnectionId, codec: Codec, identity: Identity) -> Self {
        let options = &sockets.0.options;
        // Evenly as many as the limit says, and a burst of what two seconds give.
        let rate = Rate::new(options.commands_per_second.get().saturating_mul(2), Duration::from_secs(2));
        let heartbeat_at = Instant::now() + options.heartbeat;
        let outbox = Arc::new(Outbox::new(id, codec));
        sockets.register(&outbox, &identity);
        Self {
            token_ends: sockets.token_ends(&identity),
            watches: Watches::new(Arc::clone(&outbox), options.slack()),
            codec,
            outbox,
            identity,
            session: Uuid::now_v7(),
            rate,
            rate_full_at: Instant::now(),
            over_limit: 0,
            heartbeat_at,
            silent: 0,
            received: 0,
            drain_at: None,
            pages: Pages::new(&sockets.0.store),
            renewal: None,
            pong: None,
            excess: None,
            sockets,
        }
    }

    pub(super) fn welcome(&self) -> ServerMessage {
        let options = &self.sockets.0.options;
        ServerMessage::Welcome {
            player: self.identity.player.clone(),
            session: self.session.to_string(),
            now: self.sockets.0.clock.now(),
            heartbeat_ms: u64::try_from(options.heartbeat.as_millis()).unwrap_or(u64::MAX),
            limits: WelcomeLimits {
                message_bytes: options.message_bytes as u64,
                commands_per_second: u64::from(options.commands_per_second.get()),
                watches: options.watches as u64,
            },
            lineage: self.sockets.0.lineage.clone(),
        }
    }

    pub(super) async fn run(&mut self, inbound: &mut Inbound, outbound: &mut Outbound) -> Ending {
        debug!(session = %self.session, subject = self.identity.subject, "welcome");
        outbound.push(frame::message(self.codec, &self.welcome()));
        let timer = sleep_until(self.heartbeat_at);
        tokio::pin!(timer);
        loop {
            if let Some(code) = self.outbox.ending() {
                return Ending::Close(code);
            }
            self.drain_at = self.drain_at.or_else(|| self.sockets.drains_at());
            if self.write_at_once(outbound).is_err() {
                return Ending::Gone;
            }
            let next = self.next_timer(outbound);
            if next < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(next);
            }
            let blocked = !outbound.is_empty();
            let reads = self.reads();
            tokio::select! { biased;
                () = self.outbox.ended() => {}
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
                (ticket, events) = self.pages.next(), if self.pages.is_reading() => {
                    if let Err(ending) = self.on_page(ticket, events, outbound) {
                        return ending;
                    }
                }
                renewed = looked_at(&mut self.renewal), if self.renewal.is_some() => {
                    self.renewal = None;
                    self.renewed(renewed);
                }
                received = inbound.next(), if reads => {
                    if let Err(ending) = self.on_received(received) {
                        return ending;
                    }
                }
                () = self.outbox.woken(), if !blocked => {}
            }
        }
    }

    /// Gathers and writes until nothing is left or the socket takes no more.
    fn write_at_once(&mut self, outbound: &mut Outbound) -> std::io::Result<()> {
        loop {
            if outbound.is_empty() {
                self.pong.take().into_iter().chain(self.excess.take()).for_each(|frame| outbound.push(frame));
                for need in self.watches.gather(outbound.queue()) {
                    self.serve(need);
                }
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

    /// Whether the client may ask for more: not before its token has been looked at, since messages are handled in order.
    fn reads(&self) -> bool {
        self.renewal.is_none() && self.watches.pending() < self.sockets.0.options.outbox_messages
    }

    fn serve(&mut self, need: Need) {
        match need {
            Need::Snapshot(ticket) => {
                let outbox = Arc::clone(&self.outbox);
                self.sockets.0.sessions.resync(outbox, ticket, self.identity.caller());
            }
            Need::Page(ticket, after) => self.pages.read(ticket, after),
        }
    }

    /// A replay that was promised comes whole, or the connection ends with a code that tells the client to resume.
    fn on_page(&mut self, ticket: Ticket, events: Vec<Event>, outbound: &mut Outbound) -> Result<(), Ending> {
        let came = self.watches.show_page(ticket, events, outbound.queue());
        if came { Ok(()) } else { Err(Ending::Close(CloseCode::SlowConsumer)) }
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

    /// The moment at which something has to be done even if nothing happens.
    fn next_timer(&self, outbound: &Outbound) -> Instant {
        // What is asked for is asked while gathering, which waits until everything has been written.
        let writing = if outbound.is_empty() {
            self.watches.next_ask()
        } else {
            Some(outbound.progress() + self.sockets.0.options.write_stall)
        };
        let others = [writing, self.drain_at].into_iter().flatten();
        others.fold(self.heartbeat_at.min(self.token_ends), Instant::min)
    }

    fn on_timer(&mut self, inbound: &Inbound, outbound: &mut Outbound) -> Result<(), Ending> {
        let now = Instant::now();
        let options = &self.sockets.0.options;
        if !outbound.is_empty() && now >= outbound.progress() + options.write_stall {
            return Err(Ending::Close(CloseCode::SlowConsumer));
        }
        if self.drain_at.is_some_and(|at| now >= at) {
            return Err(Ending::Drained(frame::message(self.codec, &self.sockets.bye())));
        }
        if now >= self.token_ends {
            return Err(Ending::Close(CloseCode::Unauthenticated));
        }
        if now >= self.heartbeat_at {
            self.heartbeat_at = now + options.heartbeat;
            return self.heartbeat(inbound, outbound);
        }
        Ok(())
    }

    /// Counted, not timed: a stall of the server delays its own heartbeats and is never the client's fault.
    fn heartbeat(&mut self, inbound: &Inbound, outbound: &mut Outbound) -> Result<(), Ending> {
        let received = inbound.received();
        // A client that is still taking what we write, or that we do not read, cannot show life in another way.
        let busy = !outbound.is_empty() || !self.reads();
        self.silent = if received == self.received && !busy { self.silent + 1 } else { 0 };
        self.received = received;
        if self.silent >= SILENT_HEARTBEATS {
            return Err(Ending::Close(CloseCode::HeartbeatTimeout));
        }
        if outbound.is_empty() {
            let beat = ServerMessage::Beat { now: self.sockets.0.clock.now(), heads: self.watches.heads() };
            outbound.push(frame::ping());
            outbound.push(frame::message(self.codec, &beat));
        }
        Ok(())
    }
}

/// Whatever ended it, a connection gives up every watch and what was on its way.
impl Drop for Connection {
    fn drop(&mut self) {
        self.sockets.0.registry.remove(&self.outbox);
        self.watches.leave_all();
    }
}

async fn looked_at(
    renewal: &mut Option<BoxFuture<'static, Result<Identity, Error>>>,
) -> Result<Identity, Error> {
    match renewal {
        Some(renewal) => renewal.await,
        None => std::future::pending().await,
    }
}
