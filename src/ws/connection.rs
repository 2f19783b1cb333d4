//! One client's WebSocket connection, from `welcome` to its end, in one task with one timer.
//!
//! While too many requests are unanswered the socket is not read, so a client's backlog slows only
//! that client.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use raidhall_protocol::decode::{DecodeError, decode};
use raidhall_protocol::server::WelcomeLimits;
use raidhall_protocol::{ClientMessage, CloseCode, Codec, ServerMessage};
use tokio::time::{sleep, sleep_until};
use tracing::debug;
use uuid::Uuid;

use super::ConnectionService;
use super::inbound::{Inbound, InboundItem};
use super::message_meter::MessageMeter;
use super::outbound::Outbound;
use super::player_watch;
use super::requests::{CompletedRequest, excess_error_frame};
use super::subscriber::{DisconnectCause, Subscriber};
use crate::auth::Identity;
use crate::error::Error;
use crate::fanout::frame;
use crate::fanout::outbox::ConnectionId;
use crate::raid::Refusal;
use crate::random::new_uuid;

/// Heartbeats in a row without a byte from the client before the client counts as gone.
const SILENT_HEARTBEATS_MAX: u32 = 2;
/// The parts of the protocol that not every server has.
const FEATURES: [&str; 1] = ["player"];
/// Messages over the rate limit in a row before the connection is closed.
const OVER_LIMIT_MESSAGES_MAX: u32 = 200;

pub(super) struct Connection {
    pub(super) subscriber: Subscriber,
    codec: Codec,
    /// The connection's id in `welcome`, in the logs and in the audit log.
    pub(super) connection_uuid: Uuid,
    meter: MessageMeter,
    over_limit_messages: u32,
    silent_heartbeats: u32,
    last_bytes_received: u64,
    /// The request that must complete before the next message is read.
    pub(super) pending_request: Option<BoxFuture<'static, CompletedRequest>>,
    /// The pong for the latest ping; it also answers earlier pings (RFC 6455 section 5.5.3).
    pending_pong: Option<Bytes>,
    /// The `rate_limited` error that the client gets for sending too many frames or bytes.
    pending_excess_error: Option<Bytes>,
}

impl Connection {
    pub(super) fn new(
        service: ConnectionService,
        id: ConnectionId,
        codec: Codec,
        identity: Identity,
        meter: MessageMeter,
    ) -> Self {
        Self {
            subscriber: Subscriber::new(service, id, codec, identity),
            codec,
            connection_uuid: new_uuid(),
            meter,
            over_limit_messages: 0,
            silent_heartbeats: 0,
            last_bytes_received: 0,
            pending_request: None,
            pending_pong: None,
            pending_excess_error: None,
        }
    }

    pub(super) fn welcome_message(&self) -> ServerMessage {
        let options = &self.subscriber.service.0.options;
        ServerMessage::Welcome {
            player: self.subscriber.identity.player.clone(),
            session: self.connection_uuid.to_string(),
            now: self.subscriber.service.clock.now(),
            heartbeat_ms: u64::try_from(options.heartbeat_interval.as_millis()).unwrap_or(u64::MAX),
            limits: WelcomeLimits {
                message_bytes: options.message_bytes_max as u64,
                commands_per_second: u64::from(options.commands_per_second.get()),
                watches: options.watches_max as u64,
            },
            lineage: self.subscriber.service.lineage.clone(),
            features: FEATURES.map(str::to_owned).into(),
        }
    }

    /// Serves the client until the connection ends, and returns the cause. Each round writes what
    /// can be written, then waits for the first of:
    ///
    /// - a request from outside to close the connection,
    /// - the timer: heartbeat, write stall, token expiry, drain, or a snapshot request,
    /// - room in the socket, while frames wait to be written,
    /// - a replay page from the store, or a page of the player's stream,
    /// - the completion of the pending request,
    /// - a message from the client, unless a request is pending or too many are unanswered,
    /// - a wake-up of the outbox, while nothing waits to be written.
    pub(super) async fn run(
        &mut self,
        inbound: &mut Inbound,
        outbound: &mut Outbound,
    ) -> DisconnectCause {
        self.subscriber.outbox.record_heard();
        debug!(session = %self.connection_uuid, subject = self.subscriber.identity.subject, "welcome");
        outbound.push(frame::encode(self.codec, &self.welcome_message()));
        let timer = sleep_until(self.subscriber.next_deadline(outbound.queue()));
        tokio::pin!(timer);
        loop {
            if let Some(ending) = self.subscriber.check_disconnect() {
                return ending;
            }
            if self.write_ready(outbound).is_err() {
                return DisconnectCause::ClientGone;
            }
            let next = self.subscriber.next_deadline(outbound.queue());
            if next < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(next);
            }
            let blocked = !outbound.is_empty();
            let reads = self.can_read();
            tokio::select! { biased;
                () = self.subscriber.outbox.close_requested() => {}
                () = &mut timer => {
                    if let Err(ending) = self.on_timer(inbound, outbound) {
                        return ending;
                    }
                }
                written = outbound.write(), if blocked => {
                    if written.is_err() {
                        return DisconnectCause::ClientGone;
                    }
                }
                (ticket, events) = self.subscriber.replay_reader.next_page(), if self.subscriber.replay_reader.is_reading() => {
                    if let Err(ending) = self.subscriber.on_replay_page(ticket, events, outbound.queue()) {
                        return ending;
                    }
                }
                events = player_watch::next_page(&mut self.subscriber.player_watch), if self.subscriber.is_reading_player_page() => {
                    self.subscriber.on_player_page(events, outbound.queue());
                }
                done = await_pending_request(&mut self.pending_request), if self.pending_request.is_some() => {
                    self.pending_request = None;
                    if let Err(ending) = self.on_request_completed(done) {
                        return ending;
                    }
                }
                received = inbound.next(), if reads => {
                    if let Err(ending) = self.on_inbound_item(received) {
                        return ending;
                    }
                }
                () = self.subscriber.outbox.woken(), if !blocked => {}
            }
        }
    }

    /// Collects frames and writes them until none is left or the socket accepts no more.
    fn write_ready(&mut self, outbound: &mut Outbound) -> std::io::Result<()> {
        loop {
            if outbound.is_empty() {
                if self.subscriber.outbox.take_probe_request() {
                    outbound.push(frame::ping());
                }
                if let Some(pong) = self.pending_pong.take() {
                    outbound.push(pong);
                }
                if let Some(error) = self.pending_excess_error.take() {
                    outbound.push(error);
                }
                self.subscriber.queue_ready_frames(outbound.queue());
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

    /// Whether to read from the client: not while a request is pending, since messages are handled
    /// in order, and not while too many requests are unanswered.
    fn can_read(&self) -> bool {
        self.pending_request.is_none()
            && self.subscriber.unanswered_requests()
                < self.subscriber.service.0.options.outbox_messages_max
    }

    fn on_inbound_item(&mut self, received: InboundItem) -> Result<(), DisconnectCause> {
        self.subscriber.outbox.record_heard();
        match received {
            InboundItem::Message(message) => self.on_message(message),
            InboundItem::Ping(payload) => {
                self.pending_pong = Some(frame::pong(&payload));
                Ok(())
            }
            InboundItem::Pong => Ok(()),
            InboundItem::RateExceeded(excess, wait) => {
                self.pending_excess_error = Some(excess_error_frame(self.codec, excess, wait));
                Ok(())
            }
            InboundItem::Violation(code) => Err(DisconnectCause::Close(code)),
            InboundItem::ClientGone => Err(DisconnectCause::ClientGone),
        }
    }

    fn on_message(&mut self, frame: Bytes) -> Result<(), DisconnectCause> {
        match self.meter.charge(frame.len()) {
            Ok(Duration::ZERO) => self.on_charged_message(&frame),
            Ok(wait) => {
                self.pending_request = Some(Box::pin(async move {
                    sleep(wait).await;
                    CompletedRequest::MessageDue(frame)
                }));
                Ok(())
            }
            Err(exceeded) => self.on_over_limit(&frame, exceeded.retry_after),
        }
    }

    pub(super) fn on_charged_message(&mut self, frame: &[u8]) -> Result<(), DisconnectCause> {
        match decode(self.codec, frame) {
            Ok(ClientMessage::Beat) => {
                self.meter.refund();
                return Ok(());
            }
            Ok(message) => self.handle_message(message),
            Err(DecodeError::Undecodable(reason)) => return Err(undecodable(&reason)),
            Err(DecodeError::Invalid(invalid)) => {
                let error = Error::Refused(Refusal::Invalid(invalid.fields));
                self.refuse_message(&invalid.re, invalid.id, invalid.topic, &error);
            }
        }
        self.over_limit_messages = 0;
        Ok(())
    }

    /// Refuses a small message beyond the allowance. It is decoded because the error names its id.
    fn on_over_limit(&mut self, frame: &[u8], wait: Duration) -> Result<(), DisconnectCause> {
        let (re, id, topic) = match decode(self.codec, frame) {
            Ok(ClientMessage::Beat) => return Ok(()),
            Ok(message) => (message.t().to_owned(), message.id(), message.topic()),
            Err(DecodeError::Undecodable(reason)) => return Err(undecodable(&reason)),
            Err(DecodeError::Invalid(invalid)) => (invalid.re, invalid.id, invalid.topic),
        };
        self.over_limit_messages += 1;
        if self.over_limit_messages > OVER_LIMIT_MESSAGES_MAX {
            return Err(DisconnectCause::Close(CloseCode::RateLimited));
        }
        let wait = wait.max(Duration::from_millis(1));
        self.refuse_message(&re, id, topic, &Error::RateLimited(wait));
        Ok(())
    }

    fn on_timer(
        &mut self,
        inbound: &Inbound,
        outbound: &mut Outbound,
    ) -> Result<(), DisconnectCause> {
        let is_heartbeat_due = self.subscriber.on_timer(outbound.queue())?;
        if is_heartbeat_due {
            self.on_heartbeat(inbound, outbound)
        } else {
            Ok(())
        }
    }

    /// Sends a heartbeat and counts silent ones. Silence is counted in heartbeats, not in time: a
    /// stall of the server delays its own heartbeats too, and so never closes a client that is
    /// alive.
    fn on_heartbeat(
        &mut self,
        inbound: &Inbound,
        outbound: &mut Outbound,
    ) -> Result<(), DisconnectCause> {
        let received = inbound.bytes_received();
        // While frames wait to be written, or the socket is not read, silence says nothing about
        // the client.
        let busy = !outbound.is_empty() || !self.can_read();
        self.silent_heartbeats = if received == self.last_bytes_received && !busy {
            self.silent_heartbeats + 1
        } else {
            0
        };
        self.last_bytes_received = received;
        if self.silent_heartbeats >= SILENT_HEARTBEATS_MAX {
            return Err(DisconnectCause::Close(CloseCode::HeartbeatTimeout));
        }
        if outbound.is_empty() {
            let beat = ServerMessage::Beat {
                now: self.subscriber.service.clock.now(),
                heads: self.subscriber.heads(),
            };
            outbound.push(frame::ping());
            outbound.push(frame::encode(self.codec, &beat));
        }
        Ok(())
    }
}

fn undecodable(reason: &str) -> DisconnectCause {
    debug!(reason, "undecodable frame");
    DisconnectCause::Close(CloseCode::BadMessage)
}

async fn await_pending_request(
    request: &mut Option<BoxFuture<'static, CompletedRequest>>,
) -> CompletedRequest {
    match request {
        Some(request) => request.await,
        None => std::future::pending().await,
    }
}
