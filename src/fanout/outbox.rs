//! What waits for one client besides numbered events: answers, presence and signals.
//!
//! Each lane is bounded, each by a policy of its own. Answers are bounded by the client itself: while too many of its
//! requests are unanswered, its socket is not read. Presence that overflows is dropped, and the raid's watch gets a
//! fresh snapshot instead, which holds who is online. Signals keep the latest of each sender and kind and drop the
//! oldest.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::{CloseCode, PlayerId, RaidId, Seq};
use tokio::sync::Notify;

use crate::error::Error;
use crate::fanout::audience::Audience;
use crate::fanout::frame::Encoding;
use crate::telemetry::{SignalDropCause, metrics};

/// Presence messages held before the watch gets a snapshot instead.
const PRESENCE_MAX: usize = 64;
/// Signals held before the oldest is dropped.
const SIGNALS_MAX: usize = 64;

/// Names one connection within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Names one watch of one connection, so that what belongs to a watch that was replaced can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchId {
    /// The raid watched.
    pub raid: RaidId,
    /// Grows with each watch of the connection.
    pub number: u64,
}

/// Something that answers a request of this client, or changes one of its watches.
pub enum OutboxReply {
    /// A whole frame. On a watch of that raid it waits until the watch has passed `seq`.
    Frame {
        /// The raid it is about, if any.
        raid: Option<RaidId>,
        /// The event it must not overtake; zero for none.
        seq: Seq,
        /// The frame.
        frame: Bytes,
    },
    /// A request was carried out that nothing is said about.
    Done,
    /// The watch is live from `cursor` on; everything up to `replay_until` must come whole.
    Joined {
        /// Which watch.
        watch_id: WatchId,
        /// Where its events are.
        audience: Arc<Audience>,
        /// The newest seq that the client holds once it has read `frame`.
        cursor: Seq,
        /// How far the answer's promise of a whole replay goes.
        replay_until: Seq,
        /// The `watching` or `snapshot` message.
        frame: Bytes,
    },
    /// The snapshot that a collapsed watch asked for.
    Resynced {
        /// Which watch.
        ticket: WatchId,
        /// The snapshot's seq.
        seq: Seq,
        /// The `snapshot` message.
        frame: Bytes,
    },
    /// The raid could not be watched, or the snapshot not be had.
    Refused {
        /// Which watch.
        ticket: WatchId,
        /// Why.
        error: Error,
    },
    /// The watch ends once it has shown the event at `last_seq`.
    Ended {
        /// Which watch.
        ticket: WatchId,
        /// The last event it shows.
        last_seq: Seq,
        /// Why.
        reason: UnwatchReason,
    },
}

/// The latest signal of one sender and kind.
pub struct Signal {
    /// The raid it is about.
    pub raid: RaidId,
    /// Who sent it.
    pub from: PlayerId,
    /// Its kind.
    pub kind: Arc<str>,
    /// The frame.
    pub frame: Bytes,
}

/// The lanes, taken as a whole by the connection's writer.
#[derive(Default)]
pub struct OutboxLanes {
    /// First to last.
    pub replies: VecDeque<OutboxReply>,
    /// First to last.
    pub presence: VecDeque<(RaidId, Bytes)>,
    /// Raids whose presence was dropped: their watches need a snapshot.
    pub presence_dropped: Vec<RaidId>,
    /// Oldest first.
    pub signals: VecDeque<Signal>,
}

/// One client's outbox. Shared by its connection, which empties it, and by everybody who has something for it.
pub struct Outbox {
    /// The connection it belongs to.
    pub id: ConnectionId,
    /// How the client wants its messages.
    pub encoding: Encoding,
    state: Mutex<OutboxState>,
    close_code: OnceLock<CloseCode>,
    close_notify: Notify,
    wake_notify: Notify,
}

#[derive(Default)]
struct OutboxState {
    is_closed: bool,
    lanes: OutboxLanes,
}

impl Outbox {
    /// An empty one.
    pub fn new(id: ConnectionId, form: impl Into<Encoding>) -> Self {
        Self {
            id,
            encoding: form.into(),
            state: Mutex::default(),
            close_code: OnceLock::new(),
            close_notify: Notify::new(),
            wake_notify: Notify::new(),
        }
    }

    /// Tells the connection that there is something to send: here, or in a ring that it watches.
    pub fn wake(&self) {
        self.wake_notify.notify_one();
    }

    /// Tells the connection to end. The first code that is given holds.
    pub fn request_close(&self, code: CloseCode) {
        let _ = self.close_code.set(code);
        self.close_notify.notify_one();
    }

    /// Waits for [`Outbox::request_close`]. Unlike [`Outbox::woken`], it is of account even while the client takes nothing.
    pub async fn close_requested(&self) {
        self.close_notify.notified().await;
    }

    /// The code to end with, if the connection was told to.
    pub fn close_code(&self) -> Option<CloseCode> {
        self.close_code.get().copied()
    }

    /// Waits for [`Outbox::wake`]. One call is remembered while nobody waits.
    pub async fn woken(&self) {
        self.wake_notify.notified().await;
    }

    /// Adds an answer. False when the connection is gone.
    pub fn push_reply(&self, answer: OutboxReply) -> bool {
        self.push(|lanes| lanes.replies.push_back(answer))
    }

    /// Adds a presence message, or notes that it was dropped.
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

    /// Adds a signal in place of an older one of the same sender and kind.
    pub fn push_signal(&self, signal: Signal) -> bool {
        self.push(|lanes| {
            let same = |held: &Signal| {
                (held.raid, held.from) == (signal.raid, signal.from) && held.kind == signal.kind
            };
            if let Some(index) = lanes.signals.iter().position(same) {
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
            let waited = state.lanes.len();
            add(&mut state.lanes);
            metrics()
                .outbox_messages
                .increment(state.lanes.len() as f64 - waited as f64);
        }
        self.wake();
        true
    }

    /// Takes everything that waits, in exchange for lanes that are empty: their memory serves again.
    pub fn swap_lanes(&self, lanes: &mut OutboxLanes) {
        let given = lanes.len() as f64;
        std::mem::swap(&mut self.state.lock().lanes, lanes);
        metrics()
            .outbox_messages
            .increment(given - lanes.len() as f64);
    }

    /// Refuses all that comes after, and gives what still waited: a watch answered in between must be left.
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
    /// Messages in all lanes.
    fn len(&self) -> usize {
        self.replies.len() + self.presence.len() + self.signals.len()
    }
}
