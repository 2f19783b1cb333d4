//! The subscriber: what a WebSocket and an event stream share. It has an identity, watches, and the
//! deadlines and causes that end the connection.

use std::sync::Arc;

use bytes::Bytes;
use raidhall_protocol::server::ByeReason;
use raidhall_protocol::{CloseCode, Event, ServerMessage};
use rand::Rng;
use tokio::time::Instant;

use super::ConnectionService;
use super::close_code_for;
use super::replay_reader::ReplayReader;
use super::send_queue::SendQueue;
use super::watches::{FetchRequest, Watches};
use crate::auth::Identity;
use crate::fanout::frame::{self, Encoding};
use crate::fanout::outbox::{ConnectionId, Outbox, WatchId};
use crate::telemetry::CloseCause;

/// How long a connection outlives its token, so that the client can renew the token without a
/// break.
const TOKEN_GRACE_MS: i64 = 60_000;

/// The cause of a connection's end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DisconnectCause {
    /// The server closes the connection with this code.
    Close(CloseCode),
    /// The instance drains; this `bye` message tells the client when to reconnect.
    Drained(Bytes),
    /// The client closed the connection or vanished.
    ClientGone,
}

impl DisconnectCause {
    /// Returns the cause as it appears in metrics and logs.
    pub(super) const fn label(&self) -> CloseCause {
        match self {
            Self::Close(code) => CloseCause::Code(*code),
            Self::Drained(_) => CloseCause::Code(CloseCode::Draining),
            Self::ClientGone => CloseCause::ClientGone,
        }
    }
}

pub(super) struct Subscriber {
    pub(super) service: ConnectionService,
    pub(super) outbox: Arc<Outbox>,
    pub(super) identity: Identity,
    pub(super) watches: Watches,
    pub(super) replay_reader: ReplayReader,
    next_heartbeat_at: Instant,
    /// When the token and its grace period end.
    token_deadline: Instant,
    /// When the drain closes this connection; `None` until a drain has been noticed.
    drain_at: Option<Instant>,
}

impl Subscriber {
    pub(super) fn new(
        service: ConnectionService,
        id: ConnectionId,
        encoding: impl Into<Encoding>,
        identity: Identity,
    ) -> Self {
        let outbox = Arc::new(Outbox::new(id, encoding));
        let options = &service.0.options;
        let subscriber = Self {
            watches: Watches::new(Arc::clone(&outbox), options.watch_lag_limit()),
            replay_reader: ReplayReader::new(&service.store),
            next_heartbeat_at: Instant::now() + options.heartbeat_interval,
            token_deadline: token_deadline(&service, &identity),
            drain_at: None,
            service,
            outbox,
            identity,
        };
        subscriber.register();
        subscriber
    }

    /// Continues with another token of the same subject.
    pub(super) fn replace_identity(&mut self, identity: Identity) {
        self.token_deadline = token_deadline(&self.service, &identity);
        self.identity = identity;
        self.register();
    }

    /// Adds the connection to the registry under its current identity, so that a revocation or a
    /// drain can close it.
    fn register(&self) {
        self.service
            .0
            .connections
            .upsert(&self.outbox, &self.identity);
        // A revocation since the check of the token closed only the connections that were
        // registered by then.
        if let Err(error) = self.service.auth.check_not_revoked(&self.identity) {
            self.outbox.request_close(close_code_for(&error));
        }
    }

    /// Returns the cause if something outside this task has requested the close. Picks the moment
    /// to leave when a drain begins.
    pub(super) fn check_disconnect(&mut self) -> Option<DisconnectCause> {
        if self.drain_at.is_none() && self.service.0.connections.is_draining() {
            let spread = self.service.0.options.drain_spread;
            self.drain_at = Some(Instant::now() + spread.mul_f64(rand::rng().random()));
        }
        self.outbox.close_code().map(DisconnectCause::Close)
    }

    /// Queues the frames that can be sent now, and starts to fetch the snapshots and replay pages
    /// that watches need.
    pub(super) fn queue_ready_frames(&mut self, queue: &mut SendQueue) {
        for request in self.watches.queue_ready_frames(queue) {
            match request {
                FetchRequest::Snapshot(ticket) => {
                    let outbox = Arc::clone(&self.outbox);
                    self.service
                        .sessions
                        .resync(outbox, ticket, (&self.identity).into());
                }
                FetchRequest::ReplayPage(ticket, after) => {
                    self.replay_reader.start_read(ticket, after)
                }
            }
        }
    }

    /// Queues a page of a replay. **A promised replay is sent completely**, or the connection is
    /// closed with a code that makes the client resume: so it is if the page does not continue the
    /// replay.
    pub(super) fn on_replay_page(
        &mut self,
        ticket: WatchId,
        events: Vec<Event>,
        queue: &mut SendQueue,
    ) -> Result<(), DisconnectCause> {
        let is_expected = self.watches.queue_replay_page(ticket, events, queue);
        if is_expected {
            Ok(())
        } else {
            Err(DisconnectCause::Close(CloseCode::SlowConsumer))
        }
    }

    /// Returns the next moment at which [`Subscriber::on_timer`] or
    /// [`Subscriber::queue_ready_frames`] has work to do.
    pub(super) fn next_deadline(&self, queue: &SendQueue) -> Instant {
        // Snapshots are requested while frames are collected, which happens only once the queue has
        // been written.
        let queue_deadline = if queue.is_empty() {
            self.watches.next_snapshot_request_at()
        } else {
            Some(self.write_stall_deadline(queue))
        };
        let others = [queue_deadline, self.drain_at].into_iter().flatten();
        others.fold(
            self.next_heartbeat_at.min(self.token_deadline),
            Instant::min,
        )
    }

    /// Checks every deadline. Returns true if a heartbeat is due, or the cause if the connection
    /// must end.
    pub(super) fn on_timer(&mut self, queue: &SendQueue) -> Result<bool, DisconnectCause> {
        let now = Instant::now();
        if !queue.is_empty() && now >= self.write_stall_deadline(queue) {
            return Err(DisconnectCause::Close(CloseCode::SlowConsumer));
        }
        if self.drain_at.is_some_and(|at| now >= at) {
            return Err(DisconnectCause::Drained(frame::encode(
                self.outbox.encoding,
                &self.bye_message(),
            )));
        }
        if now >= self.token_deadline {
            return Err(DisconnectCause::Close(CloseCode::Unauthenticated));
        }
        let is_heartbeat_due = now >= self.next_heartbeat_at;
        if is_heartbeat_due {
            self.next_heartbeat_at = now + self.service.0.options.heartbeat_interval;
        }
        Ok(is_heartbeat_due)
    }

    /// When the connection is closed if the client goes on taking nothing.
    fn write_stall_deadline(&self, queue: &SendQueue) -> Instant {
        queue.last_progress_at() + self.service.0.options.write_stall_timeout
    }

    fn bye_message(&self) -> ServerMessage {
        let spread = self.service.0.options.drain_spread.as_millis();
        let spread = u64::try_from(spread).unwrap_or(u64::MAX).max(1);
        let reconnect_after_ms = rand::rng().random_range(0..spread);
        ServerMessage::Bye {
            reason: ByeReason::Draining,
            reconnect_after_ms,
        }
    }
}

/// Leaves the registry and ends every watch, however the connection ended.
impl Drop for Subscriber {
    fn drop(&mut self) {
        self.service.0.connections.remove(&self.outbox);
        self.watches.remove_all();
    }
}

/// Returns the moment until which a token keeps a connection open: its expiry and the grace period.
fn token_deadline(service: &ConnectionService, identity: &Identity) -> Instant {
    service
        .clock
        .instant_of(identity.expires_at.plus(TOKEN_GRACE_MS))
}
