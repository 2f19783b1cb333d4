//! A recorder on a member's connection, which only watches and records what it receives, and when.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raidhall_loadtest::client::CloseInfo;
use raidhall_protocol::{PlayerId, Seq, ServerMessage};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::test_socket::TestSocket;

/// A watching connection that records until it is dropped.
pub struct WatchRecorder {
    record: Arc<Mutex<WatchRecord>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct WatchRecord {
    /// The seqs that were reached by an event or a snapshot, and when.
    events: Vec<(Seq, Instant)>,
    signals: Vec<Instant>,
    has_gap: bool,
    came_online: Vec<PlayerId>,
    went_offline: Vec<PlayerId>,
    closed: Option<CloseInfo>,
}

impl WatchRecorder {
    /// Starts to record on a connection that is already watching.
    pub fn start(socket: TestSocket) -> WatchRecorder {
        let record = Arc::<Mutex<WatchRecord>>::default();
        let task = tokio::spawn(record_messages(socket, Arc::clone(&record)));
        WatchRecorder { record, task }
    }

    /// Waits until an event, or a snapshot that covers it, was received. Returns when that was.
    pub async fn wait_for_event(&self, seq: Seq) -> Instant {
        self.wait_for(|record| {
            record
                .events
                .iter()
                .find(|(reached, _)| *reached >= seq)
                .map(|(_, at)| *at)
        })
        .await
    }

    /// Waits until this many signals were received. Returns when the last of them was.
    pub async fn wait_for_signals(&self, count: usize) -> Instant {
        self.wait_for(|record| record.signals.get(count - 1).copied())
            .await
    }

    /// Returns the players who were shown going offline.
    pub fn went_offline(&self) -> Vec<PlayerId> {
        self.record.lock().went_offline.clone()
    }

    /// Returns the players who were shown coming online.
    pub fn came_online(&self) -> Vec<PlayerId> {
        self.record.lock().came_online.clone()
    }

    /// Returns whether every event came exactly once and in order, or a snapshot in place of
    /// several.
    pub fn has_no_gap(&self) -> bool {
        !self.record.lock().has_gap
    }

    async fn wait_for<T>(&self, what: impl Fn(&WatchRecord) -> Option<T>) -> T {
        loop {
            {
                let record = self.record.lock();
                if let Some(found) = what(&record) {
                    return found;
                }
                assert!(
                    record.closed.is_none(),
                    "the connection ended: {:?}",
                    record.closed
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

async fn record_messages(mut socket: TestSocket, record: Arc<Mutex<WatchRecord>>) {
    loop {
        let message = socket.try_next_message().await;
        let mut record = record.lock();
        match message {
            Ok(message) => record.apply(&message),
            Err(closed) => return record.closed = Some(closed),
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

    fn record_seq(&mut self, seq: Seq, is_contiguous: bool) {
        self.has_gap |= !is_contiguous;
        self.events.push((seq, Instant::now()));
    }
}
