//! Publish queue of the bus: bounded, never blocking; presence and signals are dropped first.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::super::Channel;
use crate::telemetry::{BusDropCause, metrics};

/// Maximum number of messages in the queue.
const MESSAGES_MAX: usize = 8_192;
/// Maximum total size of the messages in the queue, in bytes.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest message in bytes: receivers drop longer ones.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Maximum number of messages that are published in one round trip.
const BATCH_MESSAGES_MAX: usize = 128;

/// A message in the queue, with its channel.
pub(super) struct QueuedMessage {
    pub(super) channel: Channel,
    pub(super) message: Bytes,
    /// Receives the number of subscriptions that got the message, if the publisher asked for it.
    pub(super) count_reply: Option<oneshot::Sender<u64>>,
}

/// The queue. It is closed while the bus is down: messages published then are dropped, since
/// receivers recover from the store.
#[derive(Default)]
pub(super) struct PublishQueue {
    state: Mutex<PublishQueueState>,
    pushed: Notify,
}

/// Messages that are being published. Unless it is [completed](PublishBatch::complete), the batch
/// counts as dropped, because its outcome is unknown.
pub(super) struct PublishBatch(Vec<QueuedMessage>);

#[derive(Default)]
struct PublishQueueState {
    queue: VecDeque<QueuedMessage>,
    message_bytes: usize,
    is_open: bool,
}

impl PublishQueue {
    /// Queues a message. Returns false if it was dropped, which is counted.
    pub(super) fn push(&self, queued: QueuedMessage) -> bool {
        let pushed = self.state.lock().push(queued);
        match pushed {
            Ok(()) => self.pushed.notify_one(),
            Err(cause) => metrics().bus_dropped.increment(cause),
        }
        pushed.is_ok()
    }

    /// Returns the next messages, at least one. Nothing is lost if the future is dropped.
    pub(super) async fn next_batch(&self) -> PublishBatch {
        loop {
            let batch = self.state.lock().take_batch();
            if !batch.is_empty() {
                return PublishBatch(batch);
            }
            self.pushed.notified().await;
        }
    }

    /// Accepts messages from now on.
    pub(super) fn open(&self) {
        self.state.lock().is_open = true;
    }

    /// Drops and counts all queued messages, and any that are pushed until the queue is opened
    /// again.
    pub(super) fn close(&self) {
        let dropped = std::mem::take(&mut *self.state.lock());
        metrics()
            .bus_dropped
            .add(BusDropCause::Down, dropped.queue.len());
    }
}

impl PublishBatch {
    /// Returns the batch's messages in their order.
    pub(super) fn messages(&self) -> &[QueuedMessage] {
        &self.0
    }

    /// Reports that the batch was published, and how many subscriptions received each message.
    pub(super) fn complete(mut self, counts: Vec<u64>) {
        for (queued, count) in self.0.drain(..).zip(counts) {
            if let Some(reply) = queued.count_reply {
                // The publisher may have stopped waiting.
                let _ = reply.send(count);
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
        let mut state = PublishQueueState {
            is_open: true,
            ..PublishQueueState::default()
        };
        for _ in 0..MESSAGES_MAX / 2 {
            assert_eq!(state.push(live()), Ok(()));
        }
        assert_eq!(state.push(live()), Err(BusDropCause::LivePressure));
        for _ in 0..MESSAGES_MAX / 2 {
            assert_eq!(state.push(events(1)), Ok(()));
        }
        assert_eq!(state.push(events(1)), Err(BusDropCause::QueueFull));
        assert_eq!(state.take_batch().len(), BATCH_MESSAGES_MAX);
        assert_eq!(
            state.push(events(1)),
            Ok(()),
            "published messages free their space"
        );
    }

    #[test]
    fn the_publish_queue_is_bounded_in_bytes() {
        let mut state = PublishQueueState {
            is_open: true,
            ..PublishQueueState::default()
        };
        assert_eq!(
            state.push(events(MESSAGE_BYTES_MAX + 1)),
            Err(BusDropCause::TooLarge)
        );
        for _ in 0..BYTES_MAX / MESSAGE_BYTES_MAX {
            assert_eq!(state.push(events(MESSAGE_BYTES_MAX)), Ok(()));
        }
        assert_eq!(state.push(events(1)), Err(BusDropCause::QueueFull));
    }

    #[test]
    fn a_closed_publish_queue_accepts_and_keeps_no_messages() {
        let queue = PublishQueue::default();
        assert!(!queue.push(events(1)), "closed at first");
        queue.open();
        assert!(queue.push(events(1)));
        queue.close();
        queue.open();
        assert!(
            queue.next_batch().now_or_never().is_none(),
            "queued messages are gone"
        );
        assert!(queue.push(events(1)));
        assert_eq!(
            queue
                .next_batch()
                .now_or_never()
                .map(|batch| batch.messages().len()),
            Some(1)
        );
    }
}
