//! The subscriber: what a WebSocket and an event stream share. It has an identity, watches, and the
//! deadlines and causes that end the connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use raidhall_protocol::player::PlayerEvent;
use raidhall_protocol::server::ByeReason;
use raidhall_protocol::{CloseCode, Event, Seq, ServerMessage};
use rand::Rng;
use tokio::time::Instant;

use super::ConnectionService;
use super::close_code_for;
use super::player_watch::PlayerWatch;
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
    /// The watch of the player's own stream.
    pub(super) player_watch: Option<PlayerWatch>,
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
            player_watch: None,
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
        if let Some(watch) = &mut self.player_watch {
            watch.start_due_read();
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

    pub(super) fn watches_nothing(&self) -> bool {
        self.watches.len() == 0 && self.player_watch.is_none()
    }

    pub(super) fn is_reading_player_page(&self) -> bool {
        self.player_watch
            .as_ref()
            .is_some_and(PlayerWatch::is_reading)
    }

    /// Queues a page of the player's stream.
    pub(super) fn on_player_page(&mut self, events: Vec<PlayerEvent>, queue: &mut SendQueue) {
        if let Some(watch) = &mut self.player_watch {
            watch.queue_page(events, queue);
        }
    }

    /// Returns the number of requests whose reply has not been queued for sending yet.
    pub(super) fn unanswered_requests(&self) -> usize {
        let held_acks = self.player_watch.as_ref().map_or(0, PlayerWatch::held_acks);
        self.watches.unanswered_requests() + held_acks
    }

    /// Returns the newest known seq of everything that the client watches, for a heartbeat.
    pub(super) fn heads(&self) -> BTreeMap<String, Seq> {
        let mut heads = self.watches.heads();
        if let Some(watch) = &self.player_watch {
            heads.insert("me".to_owned(), watch.head());
        }
        heads
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
