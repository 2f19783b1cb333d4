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
use crate::fanout::frame::Form;
use crate::telemetry::metrics;

/// Presence messages held before the watch gets a snapshot instead.
const PRESENCE_MAX: usize = 64;
/// Signals held before the oldest is dropped.
const SIGNALS_MAX: usize = 64;

/// Names one connection within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Names one watch of one connection, so that what belongs to a watch that was replaced can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The raid watched.
    pub raid: RaidId,
    /// Grows with each watch of the connection.
    pub number: u64,
}

/// Something that answers a request of this client, or changes one of its watches.
pub enum Answer {
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
    Silence,
    /// The watch is live from `cursor` on; everything up to `promised` must come whole.
    Joined {
        /// Which watch.
        ticket: Ticket,
        /// Where its events are.
        audience: Arc<Audience>,
        /// The newest seq that the client holds once it has read `frame`.
        cursor: Seq,
        /// How far the answer's promise of a whole replay goes.
        promised: Seq,
        /// The `watching` or `snapshot` message.
        frame: Bytes,
    },
    /// The snapshot that a collapsed watch asked for.
    Resynced {
        /// Which watch.
        ticket: Ticket,
        /// The snapshot's seq.
        seq: Seq,
        /// The `snapshot` message.
        frame: Bytes,
    },
    /// The raid could not be watched, or the snapshot not be had.
    Refused {
        /// Which watch.
        ticket: Ticket,
        /// Why.
        error: Error,
    },
    /// The watch ends once it has shown the event at `at`.
    Ended {
        /// Which watch.
        ticket: Ticket,
        /// The last event it shows.
        at: Seq,
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
pub struct Lanes {
    /// First to last.
    pub answers: VecDeque<Answer>,
    /// First to last.
    pub presence: VecDeque<(RaidId, Bytes)>,
    /// Raids whose presence was dropped: their watches need a snapshot.
    pub presence_lost: Vec<RaidId>,
    /// Oldest first.
    pub signals: VecDeque<Signal>,
}

/// One client's outbox. Shared by its connection, which empties it, and by everybody who has something for it.
pub struct Outbox {
    /// The connection it belongs to.
    pub id: ConnectionId,
    /// How the client wants its messages.
    pub form: Form,
    state: Mutex<OutboxState>,
    ending: OnceLock<CloseCode>,
    ended: Notify,
    wake: Notify,
}

#[derive(Default)]
struct OutboxState {
    closed: bool,
    lanes: Lanes,
}

impl Outbox {
    /// An empty one.
    pub fn new(id: ConnectionId, form: impl Into<Form>) -> Self {
        Self {
            id,
            form: form.into(),
            state: Mutex::default(),
            ending: OnceLock::new(),
            ended: Notify::new(),
            wake: Notify::new(),
        }
    }

    /// Tells the connection that there is something to send: here, or in a ring that it watches.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Tells the connection to end. The first code that is given holds.
    pub fn end(&self, code: CloseCode) {
        let _ = self.ending.set(code);
        self.ended.notify_one();
    }

    /// Waits for [`Outbox::end`]. Unlike [`Outbox::woken`], it is of account even while the client takes nothing.
    pub async fn ended(&self) {
        self.ended.notified().await;
    }

    /// The code to end with, if the connection was told to.
    pub fn ending(&self) -> Option<CloseCode> {
        self.ending.get().copied()
    }

    /// Waits for [`Outbox::wake`]. One call is remembered while nobody waits.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Adds an answer. False when the connection is gone.
    pub fn answer(&self, answer: Answer) -> bool {
        self.push(|lanes| lanes.answers.push_back(answer))
    }

    /// Adds a presence message, or notes that it was dropped.
    pub fn presence(&self, raid: RaidId, frame: Bytes) -> bool {
        self.push(|lanes| {
            if lanes.presence.len() < PRESENCE_MAX {
                lanes.presence.push_back((raid, frame));
                return;
            }
            for (raid, _) in lanes.presence.drain(..).chain([(raid, frame)]) {
                if !lanes.presence_lost.contains(&raid) {
                    lanes.presence_lost.push(raid);
                }
            }
        })
    }

    /// Adds a signal in place of an older one of the same sender and kind.
    pub fn signal(&self, signal: Signal) -> bool {
        self.push(|lanes| {
            let same = |held: &Signal| {
                (held.raid, held.from) == (signal.raid, signal.from) && held.kind == signal.kind
            };
            if let Some(index) = lanes.signals.iter().position(same) {
                lanes.signals.remove(index);
                metrics().signals_dropped.increment("replaced");
            } else if lanes.signals.len() >= SIGNALS_MAX {
                lanes.signals.pop_front();
                metrics().signals_dropped.increment("overflow");
            }
            lanes.signals.push_back(signal);
        })
    }

    fn push(&self, add: impl FnOnce(&mut Lanes)) -> bool {
        {
            let mut state = self.state.lock();
            if state.closed {
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
    pub fn take(&self, lanes: &mut Lanes) {
        let given = lanes.len() as f64;
        std::mem::swap(&mut self.state.lock().lanes, lanes);
        metrics()
            .outbox_messages
            .increment(given - lanes.len() as f64);
    }

    /// Refuses all that comes after, and gives what still waited: a watch answered in between must be left.
    pub fn close(&self) -> Lanes {
        let mut state = self.state.lock();
        state.closed = true;
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

impl Lanes {
    /// Messages in all lanes.
    fn len(&self) -> usize {
        self.answers.len() + self.presence.len() + self.signals.len()
    }
}
