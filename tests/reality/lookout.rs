//! A member's connection that only watches, and writes down when it was told what.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raidhall_loadtest::client::Closed;
use raidhall_protocol::{PlayerId, Seq, ServerMessage};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::wire::Wire;

/// One who watches until this is dropped.
pub struct Lookout {
    seen: Arc<Mutex<Seen>>,
    looking: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    /// How far, and when.
    events: Vec<(Seq, Instant)>,
    signals: Vec<Instant>,
    hole: bool,
    came: Vec<PlayerId>,
    gone: Vec<PlayerId>,
    end: Option<Closed>,
}

impl Lookout {
    /// Watches on by a connection that watches.
    pub fn of(wire: Wire) -> Lookout {
        let seen = Arc::<Mutex<Seen>>::default();
        let looking = tokio::spawn(look(wire, Arc::clone(&seen)));
        Lookout { seen, looking }
    }

    /// Waits until it has seen an event. Gives the moment at which it did.
    pub async fn saw(&self, seq: Seq) -> Instant {
        self.find(|seen| {
            seen.events
                .iter()
                .find(|(upto, _)| *upto >= seq)
                .map(|(_, at)| *at)
        })
        .await
    }

    /// Waits until it has seen so many signals. Gives the moment at which it did.
    pub async fn saw_signals(&self, count: usize) -> Instant {
        self.find(|seen| seen.signals.get(count - 1).copied()).await
    }

    /// Who was shown as gone.
    pub fn gone(&self) -> Vec<PlayerId> {
        self.seen.lock().gone.clone()
    }

    /// Who was shown as come.
    pub fn came(&self) -> Vec<PlayerId> {
        self.seen.lock().came.clone()
    }

    /// Whether it was told every event exactly once, one after the other, or a snapshot in place of many.
    pub fn saw_no_hole(&self) -> bool {
        !self.seen.lock().hole
    }

    async fn find<T>(&self, what: impl Fn(&Seen) -> Option<T>) -> T {
        loop {
            {
                let seen = self.seen.lock();
                if let Some(found) = what(&seen) {
                    return found;
                }
                assert!(seen.end.is_none(), "the connection ended: {:?}", seen.end);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

async fn look(mut wire: Wire, seen: Arc<Mutex<Seen>>) {
    loop {
        let message = wire.next_or_end().await;
        let mut seen = seen.lock();
        match message {
            Ok(message) => seen.take(&message),
            Err(closed) => return seen.end = Some(closed),
        }
    }
}

impl Seen {
    fn take(&mut self, message: &ServerMessage) {
        let last = self.events.last().map(|(seq, _)| *seq);
        match message {
            ServerMessage::Snapshot { seq, .. } => {
                self.reached(*seq, last.is_none_or(|last| last < *seq))
            }
            ServerMessage::Event { event, .. } => {
                self.reached(event.seq, last.is_none_or(|last| last.next() == event.seq));
            }
            ServerMessage::Signal { .. } => self.signals.push(Instant::now()),
            ServerMessage::Presence {
                online, offline, ..
            } => {
                self.came.extend(online);
                self.gone.extend(offline);
            }
            _ => {}
        }
    }

    fn reached(&mut self, seq: Seq, rightly: bool) {
        self.hole |= !rightly;
        self.events.push((seq, Instant::now()));
    }
}
