//! What has arrived and waits to be taken: bounded, and honest about what it dropped.
//!
//! A message that finds no room is dropped, and its channel is marked once: a [`Delivery::Lost`] waits at that place in
//! the queue, so that whoever listens repairs a channel at most once per queueful, however fast messages pour in.
//! Too many marks become one [`Delivery::LostAll`].

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Channel, Delivery};

/// Messages that may wait.
const MESSAGES_MAX: usize = 8_192;
/// Bytes of messages that may wait.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// No message is larger, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Channels that may be marked as lost, one by one.
const LOST_MAX: usize = 10_000;

/// The two ends of a queue of deliveries.
pub fn intake() -> (Intake, Deliveries) {
    let shared = Arc::new(Shared::default());
    (
        Intake(Arc::new(Open(Arc::clone(&shared)))),
        Deliveries(shared),
    )
}

/// Where a bus puts what arrives. The deliveries end with its last clone.
#[derive(Clone)]
pub struct Intake(Arc<Open>);

/// What arrived, to be taken in order by one task.
pub struct Deliveries(Arc<Shared>);

/// Why a message was dropped and its channel marked as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Whoever listens is too slow.
    Full,
    /// No message may be that large.
    TooLarge,
}

struct Open(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    queue: VecDeque<Delivery>,
    messages: usize,
    bytes: usize,
    lost: HashSet<Channel>,
    lost_all: bool,
    /// One end is gone.
    closed: bool,
}

impl Intake {
    /// Queues a message; never waits.
    ///
    /// # Errors
    ///
    /// It was dropped, and its channel is marked as lost.
    pub fn offer(&self, channel: Channel, message: Bytes) -> Result<(), Refusal> {
        self.with(|waiting| {
            let refusal = if message.len() > MESSAGE_BYTES_MAX {
                Refusal::TooLarge
            } else if waiting.messages == MESSAGES_MAX || waiting.bytes + message.len() > BYTES_MAX
            {
                Refusal::Full
            } else {
                waiting.messages += 1;
                waiting.bytes += message.len();
                waiting.queue.push_back(Delivery::Message(channel, message));
                return Ok(());
            };
            waiting.mark(channel);
            Err(refusal)
        })
    }

    /// Messages of this channel were missed.
    pub fn lost(&self, channel: Channel) {
        self.with(|waiting| waiting.mark(channel));
    }

    /// Messages of every channel may have been missed.
    pub fn lost_all(&self) {
        self.with(Waiting::mark_all);
    }

    fn with<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        let shared = &self.0.0;
        let mut waiting = shared.waiting.lock();
        let result = change(&mut waiting);
        if waiting.closed {
            // Nobody will take it.
            *waiting = Waiting {
                closed: true,
                ..Waiting::default()
            };
        }
        drop(waiting);
        shared.arrived.notify_one();
        result
    }
}

impl Deliveries {
    /// The next delivery; `None` when the bus is gone and everything has been taken. Nothing is lost if the future is
    /// dropped.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            {
                let mut waiting = self.0.waiting.lock();
                if let Some(delivery) = waiting.take() {
                    return Some(delivery);
                }
                if waiting.closed {
                    return None;
                }
            }
            self.0.arrived.notified().await;
        }
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        *self.0.waiting.lock() = Waiting {
            closed: true,
            ..Waiting::default()
        };
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.waiting.lock().closed = true;
        self.0.arrived.notify_one();
    }
}

impl Waiting {
    /// A mark that has not been taken covers what is lost until it is.
    fn mark(&mut self, channel: Channel) {
        if self.lost_all {
            return;
        }
        if self.lost.len() == LOST_MAX && !self.lost.contains(&channel) {
            self.mark_all();
        } else if self.lost.insert(channel) {
            self.queue.push_back(Delivery::Lost(channel));
        }
    }

    fn mark_all(&mut self) {
        if !self.lost_all {
            self.lost_all = true;
            self.queue.push_back(Delivery::LostAll);
        }
    }

    fn take(&mut self) -> Option<Delivery> {
        let delivery = self.queue.pop_front()?;
        match &delivery {
            Delivery::Message(_, message) => {
                self.messages -= 1;
                self.bytes -= message.len();
            }
            Delivery::Lost(channel) => {
                self.lost.remove(channel);
            }
            Delivery::LostAll => self.lost_all = false,
        }
        if self.queue.is_empty() {
            // A burst must not hold memory for ever.
            self.queue.shrink_to(256);
        }
        Some(delivery)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use raidhall_protocol::RaidId;

    use super::*;

    /// Taking without waiting.
    fn next_now(deliveries: &mut Deliveries) -> Option<Option<Delivery>> {
        deliveries.next().now_or_never()
    }

    fn channel(raid: u64) -> Channel {
        Channel::Events(RaidId::try_from(raid).expect("an id"))
    }

    fn fill(intake: &Intake, channel: Channel) {
        for _ in 0..MESSAGES_MAX {
            assert_eq!(intake.offer(channel, Bytes::from_static(b"m")), Ok(()));
        }
    }

    #[test]
    fn overflow_marks_each_channel_once_behind_what_was_queued_before() {
        let (intake, mut deliveries) = intake();
        fill(&intake, channel(1));
        for _ in 0..3 {
            assert_eq!(
                intake.offer(channel(2), Bytes::from_static(b"m")),
                Err(Refusal::Full)
            );
            assert_eq!(
                intake.offer(channel(3), Bytes::from_static(b"m")),
                Err(Refusal::Full)
            );
        }
        for _ in 0..MESSAGES_MAX {
            let message = Delivery::Message(channel(1), Bytes::from_static(b"m"));
            assert_eq!(next_now(&mut deliveries), Some(Some(message)));
        }
        assert_eq!(
            next_now(&mut deliveries),
            Some(Some(Delivery::Lost(channel(2))))
        );
        assert_eq!(
            next_now(&mut deliveries),
            Some(Some(Delivery::Lost(channel(3))))
        );
        assert_eq!(next_now(&mut deliveries), None);
        intake.lost(channel(2));
        assert_eq!(
            next_now(&mut deliveries),
            Some(Some(Delivery::Lost(channel(2)))),
            "a later loss"
        );
    }

    #[test]
    fn more_lost_channels_than_can_be_told_apart_are_all_lost() {
        let (intake, mut deliveries) = intake();
        let channels = u64::try_from(LOST_MAX).expect("fits") + 5;
        (1..=channels).for_each(|raid| intake.lost(channel(raid)));
        for raid in 1..=channels - 5 {
            assert_eq!(
                next_now(&mut deliveries),
                Some(Some(Delivery::Lost(channel(raid))))
            );
        }
        assert_eq!(next_now(&mut deliveries), Some(Some(Delivery::LostAll)));
        assert_eq!(next_now(&mut deliveries), None);
    }

    #[test]
    fn bytes_are_bounded_and_a_message_beyond_the_largest_is_lost() {
        let (intake, mut deliveries) = intake();
        let large = Bytes::from(vec![0; MESSAGE_BYTES_MAX]);
        for _ in 0..BYTES_MAX / MESSAGE_BYTES_MAX {
            assert_eq!(intake.offer(channel(1), large.clone()), Ok(()));
        }
        assert_eq!(intake.offer(channel(1), large.clone()), Err(Refusal::Full));
        let too_large = Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]);
        assert_eq!(intake.offer(channel(2), too_large), Err(Refusal::TooLarge));
        for _ in 0..BYTES_MAX / MESSAGE_BYTES_MAX {
            assert!(matches!(
                next_now(&mut deliveries),
                Some(Some(Delivery::Message(_, _)))
            ));
        }
        assert_eq!(
            intake.offer(channel(1), large),
            Ok(()),
            "what was taken makes room"
        );
        assert_eq!(
            next_now(&mut deliveries),
            Some(Some(Delivery::Lost(channel(1))))
        );
        assert_eq!(
            next_now(&mut deliveries),
            Some(Some(Delivery::Lost(channel(2))))
        );
    }

    #[test]
    fn deliveries_end_when_the_last_intake_is_gone_and_all_is_taken() {
        let (intake, mut deliveries) = intake();
        let other = intake.clone();
        intake.lost_all();
        drop(intake);
        assert_eq!(next_now(&mut deliveries), Some(Some(Delivery::LostAll)));
        assert_eq!(next_now(&mut deliveries), None);
        drop(other);
        assert_eq!(next_now(&mut deliveries), Some(None));
    }

    #[test]
    fn nothing_is_kept_for_a_listener_that_is_gone() {
        let (intake, deliveries) = intake();
        let kept = Arc::clone(&deliveries.0);
        drop(deliveries);
        assert_eq!(intake.offer(channel(1), Bytes::from_static(b"m")), Ok(()));
        assert!(kept.waiting.lock().queue.is_empty());
    }
}
