//! Whoever watches raids over one connection, whatever it speaks: who they are, what they watch, and how it ends.

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

/// How long a connection stays after its token's end, so that it can be renewed without a break.
const TOKEN_GRACE_MS: i64 = 60_000;

/// Why a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DisconnectCause {
    /// We close it, with this code.
    Close(CloseCode),
    /// The server goes away: this message says so, and when to come back.
    Drained(Bytes),
    /// The client closed it, or is gone.
    ClientGone,
}

impl DisconnectCause {
    /// The cause in metrics and logs.
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
    /// When the token has ended for good.
    token_deadline: Instant,
    /// When a drain lets this client go.
    drain_at: Option<Instant>,
}

impl Subscriber {
    pub(super) fn new(
        sockets: ConnectionService,
        id: ConnectionId,
        form: impl Into<Encoding>,
        identity: Identity,
    ) -> Self {
        let (outbox, options) = (Arc::new(Outbox::new(id, form)), &sockets.0.options);
        let viewer = Self {
            watches: Watches::new(Arc::clone(&outbox), options.watch_lag_limit()),
            replay_reader: ReplayReader::new(&sockets.0.store),
            next_heartbeat_at: Instant::now() + options.heartbeat_interval,
            token_deadline: token_deadline(&sockets, &identity),
            drain_at: None,
            service: sockets,
            outbox,
            identity,
        };
        viewer.register();
        viewer
    }

    /// Goes on by another token of the same subject.
    pub(super) fn replace_identity(&mut self, identity: Identity) {
        self.token_deadline = token_deadline(&self.service, &identity);
        self.identity = identity;
        self.register();
    }

    /// Stands among those whose connections can be ended, as who they are now.
    fn register(&self) {
        self.service
            .0
            .connections
            .upsert(&self.outbox, &self.identity);
        // Whoever was revoked since the token was checked may have been missed when connections were ended.
        if let Err(error) = self.service.0.auth.check_not_revoked(&self.identity) {
            self.outbox.request_close(close_code_for(&error));
        }
    }

    /// The end that somebody else has decided on. Takes note of a drain.
    pub(super) fn check_disconnect(&mut self) -> Option<DisconnectCause> {
        if self.drain_at.is_none() && self.service.0.connections.is_draining() {
            let spread = self.service.0.options.drain_spread;
            self.drain_at = Some(Instant::now() + spread.mul_f64(rand::rng().random()));
        }
        self.outbox.close_code().map(DisconnectCause::Close)
    }

    /// Queues what may go out now, and asks for what has to be had first.
    pub(super) fn queue_ready_frames(&mut self, queue: &mut SendQueue) {
        for need in self.watches.queue_ready_frames(queue) {
            match need {
                FetchRequest::Snapshot(ticket) => {
                    let outbox = Arc::clone(&self.outbox);
                    self.service
                        .0
                        .sessions
                        .resync(outbox, ticket, (&self.identity).into());
                }
                FetchRequest::ReplayPage(ticket, after) => {
                    self.replay_reader.start_read(ticket, after)
                }
            }
        }
    }

    /// A replay that was promised comes whole, or the connection ends with a code that tells the client to resume.
    pub(super) fn on_replay_page(
        &mut self,
        ticket: WatchId,
        events: Vec<Event>,
        queue: &mut SendQueue,
    ) -> Result<(), DisconnectCause> {
        let came = self.watches.queue_replay_page(ticket, events, queue);
        if came {
            Ok(())
        } else {
            Err(DisconnectCause::Close(CloseCode::SlowConsumer))
        }
    }

    /// The moment at which something has to be done even if nothing happens.
    pub(super) fn next_deadline(&self, queue: &SendQueue) -> Instant {
        // What is asked for is asked while gathering, which waits until everything has been written.
        let writing = if queue.is_empty() {
            self.watches.next_snapshot_request_at()
        } else {
            Some(self.write_stall_deadline(queue))
        };
        let others = [writing, self.drain_at].into_iter().flatten();
        others.fold(
            self.next_heartbeat_at.min(self.token_deadline),
            Instant::min,
        )
    }

    /// Does what it is time for. True if a heartbeat is due.
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
        let beats = now >= self.next_heartbeat_at;
        if beats {
            self.next_heartbeat_at = now + self.service.0.options.heartbeat_interval;
        }
        Ok(beats)
    }

    /// When a client that goes on taking nothing counts as stuck.
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

/// Whatever ended it, a connection gives up every watch and what was on its way.
impl Drop for Subscriber {
    fn drop(&mut self) {
        self.service.0.connections.remove(&self.outbox);
        self.watches.remove_all();
    }
}

/// The moment until which a token keeps a connection open: its end and a grace.
fn token_deadline(sockets: &ConnectionService, identity: &Identity) -> Instant {
    sockets
        .0
        .clock
        .instant_of(identity.expires_at.plus(TOKEN_GRACE_MS))
}
