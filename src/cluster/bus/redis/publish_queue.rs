//! What waits to be published: bounded, never waiting, presence and signals dropped first.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::super::{Channel, Dropped};

/// Messages that may wait.
const MESSAGES_MAX: usize = 8_192;
/// Bytes of messages that may wait.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// No message is larger, in bytes: nobody would take it.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Messages that are published in one round trip.
const BATCH: usize = 128;

/// One message.
pub(super) struct Queued {
    pub(super) channel: Channel,
    pub(super) message: Bytes,
    /// Is told how many subscriptions got it, if somebody wants to know.
    pub(super) count: Option<oneshot::Sender<u64>>,
}

/// The queue. Closed while the bus is down: what is published then is dropped, since receivers heal from the store.
#[derive(Default)]
pub(super) struct Outgoing {
    waiting: Mutex<Waiting>,
    pushed: Notify,
}

/// Messages on their way. Unless they are [`done`](Batch::done) they count as dropped: nobody knows what became of them.
pub(super) struct Batch(Vec<Queued>);

#[derive(Default)]
struct Waiting {
    queue: VecDeque<Queued>,
    bytes: usize,
    open: bool,
}

impl Outgoing {
    /// Queues a message; false if it was dropped, which is counted.
    pub(super) fn push(&self, queued: Queued) -> bool {
        let pushed = self.waiting.lock().push(queued);
        match pushed {
            Ok(()) => self.pushed.notify_one(),
            Err(cause) => cause.count(1),
        }
        pushed.is_ok()
    }

    /// The next messages, at least one. Nothing is lost if the future is dropped.
    pub(super) async fn take(&self) -> Batch {
        loop {
            let batch = self.waiting.lock().take();
            if !batch.is_empty() {
                return Batch(batch);
            }
            self.pushed.notified().await;
        }
    }

    /// Messages may be queued from now on.
    pub(super) fn open(&self) {
        self.waiting.lock().open = true;
    }

    /// Drops, and counts, what waits and what is pushed from now on.
    pub(super) fn close(&self) {
        let dropped = std::mem::take(&mut *self.waiting.lock());
        Dropped::Down.count(dropped.queue.len());
    }
}

impl Batch {
    /// First to last.
    pub(super) fn messages(&self) -> &[Queued] {
        &self.0
    }

    /// They were published; so many subscriptions got each.
    pub(super) fn done(mut self, counts: Vec<u64>) {
        for (queued, count) in self.0.drain(..).zip(counts) {
            if let Some(told) = queued.count {
                // Whoever asked may have given up.
                let _ = told.send(count);
            }
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        Dropped::Down.count(self.0.len());
    }
}

impl Waiting {
    fn push(&mut self, queued: Queued) -> Result<(), Dropped> {
        let bytes = self.bytes + queued.message.len();
        let over = |share| self.queue.len() >= MESSAGES_MAX / share || bytes > BYTES_MAX / share;
        if !self.open {
            return Err(Dropped::Down);
        } else if queued.message.len() > MESSAGE_BYTES_MAX {
            return Err(Dropped::TooLarge);
        } else if over(1) {
            return Err(Dropped::QueueFull);
        } else if matches!(queued.channel, Channel::Live(_)) && over(2) {
            return Err(Dropped::LivePressure);
        }
        self.bytes = bytes;
        self.queue.push_back(queued);
        Ok(())
    }

    fn take(&mut self) -> Vec<Queued> {
        let count = self.queue.len().min(BATCH);
        let batch: Vec<_> = self.queue.drain(..count).collect();
        self.bytes -= batch
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

    fn events(bytes: usize) -> Queued {
        let channel = Channel::Events(RaidId::try_from(7_u64).expect("an id"));
        Queued {
            channel,
            message: Bytes::from(vec![0; bytes]),
            count: None,
        }
    }

    fn live() -> Queued {
        Queued {
            channel: Channel::Live(RaidId::try_from(7_u64).expect("an id")),
            ..events(1)
        }
    }

    #[test]
    fn live_messages_are_dropped_when_the_queue_is_half_full_and_the_rest_when_it_is_full() {
        let mut waiting = Waiting {
            open: true,
            ..Waiting::default()
        };
        for _ in 0..MESSAGES_MAX / 2 {
            assert_eq!(waiting.push(live()), Ok(()));
        }
        assert_eq!(waiting.push(live()), Err(Dropped::LivePressure));
        for _ in 0..MESSAGES_MAX / 2 {
            assert_eq!(waiting.push(events(1)), Ok(()));
        }
        assert_eq!(waiting.push(events(1)), Err(Dropped::QueueFull));
        assert_eq!(waiting.take().len(), BATCH);
        assert_eq!(waiting.push(events(1)), Ok(()), "what was taken makes room");
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut waiting = Waiting {
            open: true,
            ..Waiting::default()
        };
        assert_eq!(
            waiting.push(events(MESSAGE_BYTES_MAX + 1)),
            Err(Dropped::TooLarge)
        );
        for _ in 0..BYTES_MAX / MESSAGE_BYTES_MAX {
            assert_eq!(waiting.push(events(MESSAGE_BYTES_MAX)), Ok(()));
        }
        assert_eq!(waiting.push(events(1)), Err(Dropped::QueueFull));
    }

    #[test]
    fn nothing_waits_while_it_is_closed() {
        let outgoing = Outgoing::default();
        assert!(!outgoing.push(events(1)), "closed at first");
        outgoing.open();
        assert!(outgoing.push(events(1)));
        outgoing.close();
        outgoing.open();
        assert!(
            outgoing.take().now_or_never().is_none(),
            "what waited is gone"
        );
        assert!(outgoing.push(events(1)));
        assert_eq!(
            outgoing
                .take()
                .now_or_never()
                .map(|batch| batch.messages().len()),
            Some(1)
        );
    }
}
