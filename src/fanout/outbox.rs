//! Per-connection outbox for everything that is not a ledger event: replies, presence and signals.
//!
//! Each lane is bounded by a policy of its own. Replies are bounded by the client itself: while too
//! many of its requests are unanswered, its connection is not read. Presence that overflows is
//! dropped, and the raid's watch gets a new snapshot instead, which includes who is online. Signals
//! keep the latest of each sender and kind, and drop the oldest.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::{CloseCode, PlayerId, RaidId, Seq};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::Error;
use crate::fanout::audience::Audience;
use crate::fanout::frame::Encoding;
use crate::telemetry::{SignalDropCause, metrics};

/// Presence messages in the outbox; one more drops them all, and their watches get snapshots
/// instead.
const PRESENCE_MAX: usize = 64;
/// Signals in the outbox; one more drops the oldest.
const SIGNALS_MAX: usize = 64;

/// Id of a connection, unique within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Id of one watch of one connection; it tells a watch from the one that replaced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchId {
    pub raid: RaidId,
    /// Number that grows with each watch of the connection.
    pub number: u64,
}

/// A reply to a request of this client, or a change of one of its watches.
pub enum OutboxReply {
    /// A complete frame. If the connection watches `raid`, the frame waits until that watch has
    /// passed `seq`.
    Frame {
        /// The raid that the frame is about, if any.
        raid: Option<RaidId>,
        /// The event that the frame must not overtake; zero for none.
        seq: Seq,
        frame: Bytes,
    },
    /// A request is complete and has no reply.
    Done,
    /// The watch has joined: it sends events after `cursor`, and those up to `replay_until`
    /// completely.
    Joined {
        watch_id: WatchId,
        /// The audience whose ring the watch reads.
        audience: Arc<Audience>,
        /// The newest seq that the client knows after it has read `frame`.
        cursor: Seq,
        /// The last seq of the promised replay.
        replay_until: Seq,
        /// The encoded `watching` or `snapshot` message.
        frame: Bytes,
    },
    /// The snapshot that a collapsed watch requested.
    Resynced {
        /// The watch that requested it.
        ticket: WatchId,
        /// The seq at which the snapshot was taken.
        seq: Seq,
        /// The encoded `snapshot` message.
        frame: Bytes,
    },
    /// The raid cannot be watched, or the snapshot is not available.
    Refused { ticket: WatchId, error: Error },
    /// The watch ends once it has sent the event at `last_seq`.
    Ended {
        ticket: WatchId,
        /// The last event that the watch sends.
        last_seq: Seq,
        reason: UnwatchReason,
    },
}

/// The latest signal of one sender and kind.
pub struct Signal {
    pub raid: RaidId,
    /// The member who sent the signal.
    pub from: PlayerId,
    pub kind: Arc<str>,
    pub frame: Bytes,
}

/// The lanes of an outbox, which the connection's writer takes as a whole.
#[derive(Default)]
pub struct OutboxLanes {
    /// Replies and watch changes, oldest first.
    pub replies: VecDeque<OutboxReply>,
    /// Encoded presence messages, oldest first.
    pub presence: VecDeque<(RaidId, Bytes)>,
    /// Raids whose presence was dropped: their watches need a snapshot.
    pub presence_dropped: Vec<RaidId>,
    /// The latest signals, oldest first.
    pub signals: VecDeque<Signal>,
}

/// The outbox of one connection, shared by the connection, which empties it, and the components
/// that send to it.
pub struct Outbox {
    /// Id of the connection that the outbox belongs to.
    pub id: ConnectionId,
    /// Encoding in which the client receives messages.
    pub encoding: Encoding,
    state: Mutex<OutboxState>,
    close_code: OnceLock<CloseCode>,
    close_notify: Notify,
    wake_notify: Notify,
    /// When the client was last heard; `None` for an event stream, whose client sends nothing.
    last_heard: Mutex<Option<Instant>>,
    is_probe_requested: AtomicBool,
}

#[derive(Default)]
struct OutboxState {
    is_closed: bool,
    lanes: OutboxLanes,
}

impl Outbox {
    /// Creates an empty outbox.
    pub fn new(id: ConnectionId, encoding: impl Into<Encoding>) -> Self {
        Self {
            id,
            encoding: encoding.into(),
            state: Mutex::default(),
            close_code: OnceLock::new(),
            close_notify: Notify::new(),
            wake_notify: Notify::new(),
            last_heard: Mutex::default(),
            is_probe_requested: AtomicBool::new(false),
        }
    }

    /// Records that something was received from the client.
    pub fn record_heard(&self) {
        *self.last_heard.lock() = Some(Instant::now());
    }

    /// Returns when the client was last heard; `None` for an event stream.
    pub fn last_heard(&self) -> Option<Instant> {
        *self.last_heard.lock()
    }

    /// Asks the connection to send a ping at once.
    pub fn request_probe(&self) {
        self.is_probe_requested.store(true, Ordering::Release);
        self.wake();
    }

    /// Returns whether a requested ping waits to be sent.
    pub fn is_probe_requested(&self) -> bool {
        self.is_probe_requested.load(Ordering::Acquire)
    }

    /// Returns whether a ping was requested since the last call.
    pub fn take_probe_request(&self) -> bool {
        self.is_probe_requested.swap(false, Ordering::AcqRel)
    }

    /// Wakes the connection, because there is something to send: here, or in a ring that it
    /// watches.
    pub fn wake(&self) {
        self.wake_notify.notify_one();
    }

    /// Asks the connection to close. The code of the first request is used.
    pub fn request_close(&self, code: CloseCode) {
        let _ = self.close_code.set(code);
        self.close_notify.notify_one();
    }

    /// Waits for [`Outbox::request_close`]. Unlike [`Outbox::woken`], it matters even while the
    /// client takes nothing.
    pub async fn close_requested(&self) {
        self.close_notify.notified().await;
    }

    /// Returns the code to close with, if a close was requested.
    pub fn close_code(&self) -> Option<CloseCode> {
        self.close_code.get().copied()
    }

    /// Waits for [`Outbox::wake`]. One call is remembered until the next wait.
    pub async fn woken(&self) {
        self.wake_notify.notified().await;
    }

    /// Adds a reply. Returns `false` if the connection is gone.
    pub fn push_reply(&self, reply: OutboxReply) -> bool {
        self.push(|lanes| lanes.replies.push_back(reply))
    }

    /// Adds a presence message. If the lane is full, all its messages are dropped and their raids
    /// recorded. Returns `false` if the connection is gone.
    pub fn push_presence(&self, raid: RaidId, frame: Bytes) -> bool {
        self.push(|lanes| {
            if lanes.presence.len() < PRESENCE_MAX {
                lanes.presence.push_back((raid, frame));
                return;
            }
            for (raid, _) in lanes.presence.drain(..).chain([(raid, frame)]) {
                if !lanes.presence_dropped.contains(&raid) {
                    lanes.presence_dropped.push(raid);
                }
            }
        })
    }

    /// Adds a signal, in place of an older one of the same sender and kind. Returns `false` if the
    /// connection is gone.
    pub fn push_signal(&self, signal: Signal) -> bool {
        self.push(|lanes| {
            let is_same_source = |queued: &Signal| {
                (queued.raid, queued.from) == (signal.raid, signal.from)
                    && queued.kind == signal.kind
            };
            if let Some(index) = lanes.signals.iter().position(is_same_source) {
                lanes.signals.remove(index);
                metrics()
                    .signals_dropped
                    .increment(SignalDropCause::Replaced);
            } else if lanes.signals.len() >= SIGNALS_MAX {
                lanes.signals.pop_front();
                metrics()
                    .signals_dropped
                    .increment(SignalDropCause::Overflow);
            }
            lanes.signals.push_back(signal);
        })
    }

    fn push(&self, add: impl FnOnce(&mut OutboxLanes)) -> bool {
        {
            let mut state = self.state.lock();
            if state.is_closed {
                return false;
            }
            let before = state.lanes.len();
            add(&mut state.lanes);
            metrics()
                .outbox_messages
                .increment(state.lanes.len() as f64 - before as f64);
        }
        self.wake();
        true
    }

    /// Takes all lanes in exchange for empty ones, whose memory is reused.
    pub fn swap_lanes(&self, lanes: &mut OutboxLanes) {
        let before = lanes.len() as f64;
        std::mem::swap(&mut self.state.lock().lanes, lanes);
        metrics()
            .outbox_messages
            .increment(before - lanes.len() as f64);
    }

    /// Closes the outbox and returns what is left in it: a watch that joined meanwhile must be
    /// removed from its audience.
    pub fn close(&self) -> OutboxLanes {
        let mut state = self.state.lock();
        state.is_closed = true;
        metrics()
            .outbox_messages
            .decrement(state.lanes.len() as f64);
        std::mem::take(&mut state.lanes)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        metrics()
            .outbox_messages
            .decrement(self.state.get_mut().lanes.len() as f64);
    }
}

impl OutboxLanes {
    /// Returns the number of messages in all lanes.
    fn len(&self) -> usize {
        self.replies.len() + self.presence.len() + self.signals.len()
    }
}
