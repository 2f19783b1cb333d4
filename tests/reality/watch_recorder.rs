//! A member's connection that only watches, and writes down when it was told what.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raidhall_loadtest::client::CloseInfo;
use raidhall_protocol::{PlayerId, Seq, ServerMessage};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::test_socket::TestSocket;

/// One who watches until this is dropped.
pub struct WatchRecorder {
    record: Arc<Mutex<WatchRecord>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct WatchRecord {
    /// How far, and when.
    events: Vec<(Seq, Instant)>,
    signals: Vec<Instant>,
    has_gap: bool,
    came_online: Vec<PlayerId>,
    went_offline: Vec<PlayerId>,
    closed: Option<CloseInfo>,
}

impl WatchRecorder {
    /// Watches on by a connection that watches.
    pub fn start(wire: TestSocket) -> WatchRecorder {
        let record = Arc::<Mutex<WatchRecord>>::default();
        let task = tokio::spawn(record_messages(wire, Arc::clone(&record)));
        WatchRecorder { record, task }
    }

    /// Waits until it has seen an event. Gives the moment at which it did.
    pub async fn wait_for_event(&self, seq: Seq) -> Instant {
        self.wait_for(|seen| {
            seen.events
                .iter()
                .find(|(upto, _)| *upto >= seq)
                .map(|(_, at)| *at)
        })
        .await
    }

    /// Waits until it has seen so many signals. Gives the moment at which it did.
    pub async fn wait_for_signals(&self, count: usize) -> Instant {
        self.wait_for(|seen| seen.signals.get(count - 1).copied())
            .await
    }

    /// Who was shown as gone.
    pub fn went_offline(&self) -> Vec<PlayerId> {
        self.record.lock().went_offline.clone()
    }

    /// Who was shown as come.
    pub fn came_online(&self) -> Vec<PlayerId> {
        self.record.lock().came_online.clone()
    }

    /// Whether it was told every event exactly once, one after the other, or a snapshot in place of many.
    pub fn has_no_gap(&self) -> bool {
        !self.record.lock().has_gap
    }

    async fn wait_for<T>(&self, what: impl Fn(&WatchRecord) -> Option<T>) -> T {
        loop {
            {
                let seen = self.record.lock();
                if let Some(found) = what(&seen) {
                    return found;
                }
                assert!(
                    seen.closed.is_none(),
                    "the connection ended: {:?}",
                    seen.closed
                );
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for WatchRecorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn record_messages(mut wire: TestSocket, seen: Arc<Mutex<WatchRecord>>) {
    loop {
        let message = wire.try_next_message().await;
        let mut seen = seen.lock();
        match message {
            Ok(message) => seen.apply(&message),
            Err(closed) => return seen.closed = Some(closed),
        }
    }
}

impl WatchRecord {
    fn apply(&mut self, message: &ServerMessage) {
        let last = self.events.last().map(|(seq, _)| *seq);
        match message {
            ServerMessage::Snapshot { seq, .. } => {
                self.record_seq(*seq, last.is_none_or(|last| last < *seq))
            }
            ServerMessage::Event { event, .. } => {
                self.record_seq(event.seq, last.is_none_or(|last| last.next() == event.seq));
            }
            ServerMessage::Signal { .. } => self.signals.push(Instant::now()),
            ServerMessage::Presence {
                online, offline, ..
            } => {
                self.came_online.extend(online);
                self.went_offline.extend(offline);
            }
            _ => {}
        }
    }

    fn record_seq(&mut self, seq: Seq, rightly: bool) {
        self.has_gap |= !rightly;
        self.events.push((seq, Instant::now()));
    }
}
