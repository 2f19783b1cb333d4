//! What waits to be published: bounded, never waiting, presence and signals dropped first.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::super::Channel;
use crate::telemetry::{BusDropCause, metrics};

/// Messages that may wait.
const MESSAGES_MAX: usize = 8_192;
/// Bytes of messages that may wait.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// No message is larger, in bytes: nobody would take it.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Messages that are published in one round trip.
const BATCH_MESSAGES_MAX: usize = 128;

/// One message.
pub(super) struct QueuedMessage {
    pub(super) channel: Channel,
    pub(super) message: Bytes,
    /// Is told how many subscriptions got it, if somebody wants to know.
    pub(super) count_reply: Option<oneshot::Sender<u64>>,
}

/// The queue. Closed while the bus is down: what is published then is dropped, since receivers heal from the store.
#[derive(Default)]
pub(super) struct PublishQueue {
    state: Mutex<PublishQueueState>,
    pushed: Notify,
}

/// Messages on their way. Unless they are [`complete`](PublishBatch::complete) they count as dropped: nobody knows what became of them.
pub(super) struct PublishBatch(Vec<QueuedMessage>);

#[derive(Default)]
struct PublishQueueState {
    queue: VecDeque<QueuedMessage>,
    message_bytes: usize,
    is_open: bool,
}

impl PublishQueue {
    /// Queues a message; false if it was dropped, which is counted.
    pub(super) fn push(&self, queued: QueuedMessage) -> bool {
        let pushed = self.state.lock().push(queued);
        match pushed {
            Ok(()) => self.pushed.notify_one(),
            Err(cause) => metrics().bus_dropped.increment(cause),
        }
        pushed.is_ok()
    }

    /// The next messages, at least one. Nothing is lost if the future is dropped.
    pub(super) async fn next_batch(&self) -> PublishBatch {
        loop {
            let batch = self.state.lock().take_batch();
            if !batch.is_empty() {
                return PublishBatch(batch);
            }
            self.pushed.notified().await;
        }
    }

    /// Messages may be queued from now on.
    pub(super) fn open(&self) {
        self.state.lock().is_open = true;
    }

    /// Drops, and counts, what waits and what is pushed from now on.
    pub(super) fn close(&self) {
        let dropped = std::mem::take(&mut *self.state.lock());
        metrics()
            .bus_dropped
            .add(BusDropCause::Down, dropped.queue.len());
    }
}

impl PublishBatch {
    /// First to last.
    pub(super) fn messages(&self) -> &[QueuedMessage] {
        &self.0
    }

    /// They were published; so many subscriptions got each.
    pub(super) fn complete(mut self, counts: Vec<u64>) {
        for (queued, count) in self.0.drain(..).zip(counts) {
            if let Some(told) = queued.count_reply {
                // Whoever asked may have given up.
                let _ = told.send(count);
            }
        }
    }
}

impl Drop for PublishBatch {
    fn drop(&mut self) {
        metrics().bus_dropped.add(BusDropCause::Down, self.0.len());
    }
}

impl PublishQueueState {
    fn push(&mut self, queued: QueuedMessage) -> Result<(), BusDropCause> {
        let bytes = self.message_bytes + queued.message.len();
        let over = |share| self.queue.len() >= MESSAGES_MAX / share || bytes > BYTES_MAX / share;
        if !self.is_open {
            return Err(BusDropCause::Down);
        } else if queued.message.len() > MESSAGE_BYTES_MAX {
            return Err(BusDropCause::TooLarge);
        } else if over(1) {
            return Err(BusDropCause::QueueFull);
        } else if matches!(queued.channel, Channel::Live(_)) && over(2) {
            return Err(BusDropCause::LivePressure);
        }
        self.message_bytes = bytes;
        self.queue.push_back(queued);
        Ok(())
    }

    fn take_batch(&mut self) -> Vec<QueuedMessage> {
        let count = self.queue.len().min(BATCH_MESSAGES_MAX);
        let batch: Vec<_> = self.queue.drain(..count).collect();
        self.message_bytes -= batch
            .iter()
            .map(|queued| queued.message.len())
            .sum::<usize>();
        batch
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use raidhall_protocol::RaidId;

    use super::*;

    fn events(bytes: usize) -> QueuedMessage {
        let channel = Channel::Events(RaidId::try_from(7_u64).expect("an id"));
        QueuedMessage {
            channel,
            message: Bytes::from(vec![0; bytes]),
            count_reply: None,
        }
    }

    fn live() -> QueuedMessage {
        QueuedMessage {
            channel: Channel::Live(RaidId::try_from(7_u64).expect("an id")),
            ..events(1)
        }
    }

    #[test]
    fn a_half_full_publish_queue_drops_only_live_messages() {
        let mut waiting = PublishQueueState {
            is_open: true,
            ..PublishQueueState::default()
        };
        for _ in 0..MESSAGES_MAX / 2 {
            assert_eq!(waiting.push(live()), Ok(()));
        }
        assert_eq!(waiting.push(live()), Err(BusDropCause::LivePressure));
        for _ in 0..MESSAGES_MAX / 2 {
            assert_eq!(waiting.push(events(1)), Ok(()));
        }
        assert_eq!(waiting.push(events(1)), Err(BusDropCause::QueueFull));
        assert_eq!(waiting.take_batch().len(), BATCH_MESSAGES_MAX);
        assert_eq!(waiting.push(events(1)), Ok(()), "what was taken makes room");
    }

    #[test]
    fn the_publish_queue_is_bounded_in_bytes() {
        let mut waiting = PublishQueueState {
            is_open: true,
            ..PublishQueueState::default()
        };
        assert_eq!(
            waiting.push(events(MESSAGE_BYTES_MAX + 1)),
            Err(BusDropCause::TooLarge)
        );
        for _ in 0..BYTES_MAX / MESSAGE_BYTES_MAX {
            assert_eq!(waiting.push(events(MESSAGE_BYTES_MAX)), Ok(()));
        }
        assert_eq!(waiting.push(events(1)), Err(BusDropCause::QueueFull));
    }

    #[test]
    fn a_closed_publish_queue_accepts_and_keeps_no_messages() {
        let outgoing = PublishQueue::default();
        assert!(!outgoing.push(events(1)), "closed at first");
        outgoing.open();
        assert!(outgoing.push(events(1)));
        outgoing.close();
        outgoing.open();
        assert!(
            outgoing.next_batch().now_or_never().is_none(),
            "what waited is gone"
        );
        assert!(outgoing.push(events(1)));
        assert_eq!(
            outgoing
                .next_batch()
                .now_or_never()
                .map(|batch| batch.messages().len()),
            Some(1)
        );
    }
}
