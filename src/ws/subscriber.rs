//! Whoever watches raids over one connection, whatever it speaks: who they are, what they watch, and how it ends.

use std::sync::Arc;

use bytes::Bytes;
use raidhall_protocol::server::ByeReason;
use raidhall_protocol::{CloseCode, Event, ServerMessage};
use rand::Rng;
use tokio::time::Instant;

use super::Sockets;
use super::close_code;
use super::replay_pages::Pages;
use super::send_queue::Queue;
use super::watches::{Need, Watches};
use crate::auth::Identity;
use crate::fanout::frame::{self, Form};
use crate::fanout::outbox::{ConnectionId, Outbox, Ticket};

/// How long a connection stays after its token's end, so that it can be renewed without a break.
const TOKEN_GRACE_MS: i64 = 60_000;

/// Why a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// We close it, with this code.
    Close(CloseCode),
    /// The server goes away: this message says so, and when to come back.
    Drained(Bytes),
    /// The client closed it, or is gone.
    Gone,
}

impl Ending {
    /// What it is in metrics and logs.
    pub(super) const fn cause(&self) -> &'static str {
        match self {
            Self::Close(code) => code.as_str(),
            Self::Drained(_) => CloseCode::Draining.as_str(),
            Self::Gone => "gone",
        }
    }
}

pub(super) struct Viewer {
    pub(super) sockets: Sockets,
    pub(super) outbox: Arc<Outbox>,
    pub(super) identity: Identity,
    pub(super) watches: Watches,
    pub(super) pages: Pages,
    heartbeat_at: Instant,
    /// When the token has ended for good.
    token_ends: Instant,
    /// When a drain lets this client go.
    drain_at: Option<Instant>,
}

impl Viewer {
    pub(super) fn new(
        sockets: Sockets,
        id: ConnectionId,
        form: impl Into<Form>,
        identity: Identity,
    ) -> Self {
        let (outbox, options) = (Arc::new(Outbox::new(id, form)), &sockets.0.options);
        let viewer = Self {
            watches: Watches::new(Arc::clone(&outbox), options.slack()),
            pages: Pages::new(&sockets.0.store),
            heartbeat_at: Instant::now() + options.heartbeat,
            token_ends: token_ends(&sockets, &identity),
            drain_at: None,
            sockets,
            outbox,
            identity,
        };
        viewer.register();
        viewer
    }

    /// Goes on by another token of the same subject.
    pub(super) fn renew(&mut self, identity: Identity) {
        self.token_ends = token_ends(&self.sockets, &identity);
        self.identity = identity;
        self.register();
    }

    /// Stands among those whose connections can be ended, as who they are now.
    fn register(&self) {
        self.sockets.0.registry.add(&self.outbox, &self.identity);
        // Whoever was revoked since the token was checked may have been missed when connections were ended.
        if let Err(error) = self.sockets.0.auth.check_not_revoked(&self.identity) {
            self.outbox.end(close_code(&error));
        }
    }

    /// The end that somebody else has decided on. Takes note of a drain.
    pub(super) fn ending(&mut self) -> Option<Ending> {
        if self.drain_at.is_none() && self.sockets.0.registry.is_draining() {
            let spread = self.sockets.0.options.drain_spread;
            self.drain_at = Some(Instant::now() + spread.mul_f64(rand::rng().random()));
        }
        self.outbox.ending().map(Ending::Close)
    }

    /// Queues what may go out now, and asks for what has to be had first.
    pub(super) fn gather(&mut self, queue: &mut Queue) {
        for need in self.watches.gather(queue) {
            match need {
                Need::Snapshot(ticket) => {
                    let outbox = Arc::clone(&self.outbox);
                    self.sockets
                        .0
                        .sessions
                        .resync(outbox, ticket, self.identity.caller());
                }
                Need::Page(ticket, after) => self.pages.read(ticket, after),
            }
        }
    }

    /// A replay that was promised comes whole, or the connection ends with a code that tells the client to resume.
    pub(super) fn show_page(
        &mut self,
        ticket: Ticket,
        events: Vec<Event>,
        queue: &mut Queue,
    ) -> Result<(), Ending> {
        let came = self.watches.show_page(ticket, events, queue);
        if came {
            Ok(())
        } else {
            Err(Ending::Close(CloseCode::SlowConsumer))
        }
    }

    /// The moment at which something has to be done even if nothing happens.
    pub(super) fn next_timer(&self, queue: &Queue) -> Instant {
        // What is asked for is asked while gathering, which waits until everything has been written.
        let writing = if queue.is_empty() {
            self.watches.next_ask()
        } else {
            Some(self.stuck_at(queue))
        };
        let others = [writing, self.drain_at].into_iter().flatten();
        others.fold(self.heartbeat_at.min(self.token_ends), Instant::min)
    }

    /// Does what it is time for. True if a heartbeat is due.
    pub(super) fn on_timer(&mut self, queue: &Queue) -> Result<bool, Ending> {
        let now = Instant::now();
        if !queue.is_empty() && now >= self.stuck_at(queue) {
            return Err(Ending::Close(CloseCode::SlowConsumer));
        }
        if self.drain_at.is_some_and(|at| now >= at) {
            return Err(Ending::Drained(frame::message(
                self.outbox.form,
                &self.bye(),
            )));
        }
        if now >= self.token_ends {
            return Err(Ending::Close(CloseCode::Unauthenticated));
        }
        let beats = now >= self.heartbeat_at;
        if beats {
            self.heartbeat_at = now + self.sockets.0.options.heartbeat;
        }
        Ok(beats)
    }

    /// When a client that goes on taking nothing counts as stuck.
    fn stuck_at(&self, queue: &Queue) -> Instant {
        queue.progress() + self.sockets.0.options.write_stall
    }

    fn bye(&self) -> ServerMessage {
        let spread = self.sockets.0.options.drain_spread.as_millis();
        let spread = u64::try_from(spread).unwrap_or(u64::MAX).max(1);
        let reconnect_after_ms = rand::rng().random_range(0..spread);
        ServerMessage::Bye {
            reason: ByeReason::Draining,
            reconnect_after_ms,
        }
    }
}

/// Whatever ended it, a connection gives up every watch and what was on its way.
impl Drop for Viewer {
    fn drop(&mut self) {
        self.sockets.0.registry.remove(&self.outbox);
        self.watches.leave_all();
    }
}

/// The moment until which a token keeps a connection open: its end and a grace.
fn token_ends(sockets: &Sockets, identity: &Identity) -> Instant {
    sockets
        .0
        .clock
        .instant_of(identity.expires_at.plus(TOKEN_GRACE_MS))
}
