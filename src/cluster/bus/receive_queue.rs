//! What has arrived and waits to be taken: bounded, and honest about what it dropped.
//!
//! A message that finds no room is dropped, and its channel is marked once: a [`BusInput::Lost`] waits at that place in
//! the queue, so that whoever listens repairs a channel at most once per queueful, however fast messages pour in.
//! Too many marks become one [`BusInput::LostAll`].

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{BusInput, Channel};

/// Messages that may wait.
const MESSAGES_MAX: usize = 8_192;
/// Bytes of messages that may wait.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// No message is larger, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Channels that may be marked as lost, one by one.
const LOST_CHANNELS_MAX: usize = 10_000;

/// The two ends of a queue of deliveries.
pub fn bus_input_queue() -> (BusInputSender, BusInputReceiver) {
    let shared = Arc::new(BusInputShared::default());
    (
        BusInputSender(Arc::new(CloseOnDrop(Arc::clone(&shared)))),
        BusInputReceiver(shared),
    )
}

/// Where a bus puts what arrives. The deliveries end with its last clone.
#[derive(Clone)]
pub struct BusInputSender(Arc<CloseOnDrop>);

/// What arrived, to be taken in order by one task.
pub struct BusInputReceiver(Arc<BusInputShared>);

/// Why a message was dropped and its channel marked as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferError {
    /// Whoever listens is too slow.
    Full,
    /// No message may be that large.
    TooLarge,
}

struct CloseOnDrop(Arc<BusInputShared>);

#[derive(Default)]
struct BusInputShared {
    state: Mutex<BusInputState>,
    arrived: Notify,
}

#[derive(Default)]
struct BusInputState {
    queue: VecDeque<BusInput>,
    message_count: usize,
    message_bytes: usize,
    lost_channels: HashSet<Channel>,
    is_all_lost: bool,
    /// One end is gone.
    is_closed: bool,
}

impl BusInputSender {
    /// Queues a message; never waits.
    ///
    /// # Errors
    ///
    /// It was dropped, and its channel is marked as lost.
    pub fn offer(&self, channel: Channel, message: Bytes) -> Result<(), OfferError> {
        self.update(|waiting| {
            let refusal = if message.len() > MESSAGE_BYTES_MAX {
                OfferError::TooLarge
            } else if waiting.message_count == MESSAGES_MAX
                || waiting.message_bytes + message.len() > BYTES_MAX
            {
                OfferError::Full
            } else {
                waiting.message_count += 1;
                waiting.message_bytes += message.len();
                waiting.queue.push_back(BusInput::Message(channel, message));
                return Ok(());
            };
            waiting.mark_lost(channel);
            Err(refusal)
        })
    }

    /// Messages of this channel were missed.
    pub fn mark_lost(&self, channel: Channel) {
        self.update(|waiting| waiting.mark_lost(channel));
    }

    /// Messages of every channel may have been missed.
    pub fn mark_all_lost(&self) {
        self.update(BusInputState::mark_all_lost);
    }

    fn update<T>(&self, change: impl FnOnce(&mut BusInputState) -> T) -> T {
        let shared = &self.0.0;
        let mut waiting = shared.state.lock();
        let result = change(&mut waiting);
        if waiting.is_closed {
            // Nobody will take it.
            *waiting = BusInputState {
                is_closed: true,
                ..BusInputState::default()
            };
        }
        drop(waiting);
        shared.arrived.notify_one();
        result
    }
}

impl BusInputReceiver {
    /// The next delivery; `None` when the bus is gone and everything has been taken. Nothing is lost if the future is
    /// dropped.
    pub async fn next(&mut self) -> Option<BusInput> {
        loop {
            {
                let mut waiting = self.0.state.lock();
                if let Some(delivery) = waiting.pop() {
                    return Some(delivery);
                }
                if waiting.is_closed {
                    return None;
                }
            }
            self.0.arrived.notified().await;
        }
    }
}

impl Drop for BusInputReceiver {
    fn drop(&mut self) {
        *self.0.state.lock() = BusInputState {
            is_closed: true,
            ..BusInputState::default()
        };
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.state.lock().is_closed = true;
        self.0.arrived.notify_one();
    }
}

impl BusInputState {
    /// A mark that has not been taken covers what is lost until it is.
    fn mark_lost(&mut self, channel: Channel) {
        if self.is_all_lost {
            return;
        }
        if self.lost_channels.len() == LOST_CHANNELS_MAX && !self.lost_channels.contains(&channel) {
            self.mark_all_lost();
        } else if self.lost_channels.insert(channel) {
            self.queue.push_back(BusInput::Lost(channel));
        }
    }

    fn mark_all_lost(&mut self) {
        if !self.is_all_lost {
            self.is_all_lost = true;
            self.queue.push_back(BusInput::LostAll);
        }
    }

    fn pop(&mut self) -> Option<BusInput> {
        let delivery = self.queue.pop_front()?;
        match &delivery {
            BusInput::Message(_, message) => {
                self.message_count -= 1;
                self.message_bytes -= message.len();
            }
            BusInput::Lost(channel) => {
                self.lost_channels.remove(channel);
            }
            BusInput::LostAll => self.is_all_lost = false,
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
    fn next_now(deliveries: &mut BusInputReceiver) -> Option<Option<BusInput>> {
        deliveries.next().now_or_never()
    }

    fn channel(raid: u64) -> Channel {
        Channel::Events(RaidId::try_from(raid).expect("an id"))
    }

    fn fill(intake: &BusInputSender, channel: Channel) {
        for _ in 0..MESSAGES_MAX {
            assert_eq!(intake.offer(channel, Bytes::from_static(b"m")), Ok(()));
        }
    }

    #[test]
    fn an_overflow_marks_each_lost_channel_once_after_queued_messages() {
        let (intake, mut deliveries) = bus_input_queue();
        fill(&intake, channel(1));
        for _ in 0..3 {
            assert_eq!(
                intake.offer(channel(2), Bytes::from_static(b"m")),
                Err(OfferError::Full)
            );
            assert_eq!(
                intake.offer(channel(3), Bytes::from_static(b"m")),
                Err(OfferError::Full)
            );
        }
        for _ in 0..MESSAGES_MAX {
            let message = BusInput::Message(channel(1), Bytes::from_static(b"m"));
            assert_eq!(next_now(&mut deliveries), Some(Some(message)));
        }
        assert_eq!(
            next_now(&mut deliveries),
            Some(Some(BusInput::Lost(channel(2))))
        );
        assert_eq!(
            next_now(&mut deliveries),
            Some(Some(BusInput::Lost(channel(3))))
        );
        assert_eq!(next_now(&mut deliveries), None);
        intake.mark_lost(channel(2));
        assert_eq!(
            next_now(&mut deliveries),
            Some(Some(BusInput::Lost(channel(2)))),
            "a later loss"
        );
    }

    #[test]
    fn too_many_lost_channels_become_a_loss_of_all_channels() {
        let (intake, mut deliveries) = bus_input_queue();
        let channels = u64::try_from(LOST_CHANNELS_MAX).expect("fits") + 5;
        (1..=channels).for_each(|raid| intake.mark_lost(channel(raid)));
        for raid in 1..=channels - 5 {
            assert_eq!(
                next_now(&mut deliveries),
                Some(Some(BusInput::Lost(channel(raid))))
            );
        }
        assert_eq!(next_now(&mut deliveries), Some(Some(BusInput::LostAll)));
        assert_eq!(next_now(&mut deliveries), None);
    }

    #[test]
    fn the_receive_queue_is_bounded_in_bytes_and_drops_oversized_messages() {
        let (intake, mut deliveries) = bus_input_queue();
        let large = Bytes::from(vec![0; MESSAGE_BYTES_MAX]);
        for _ in 0..BYTES_MAX / MESSAGE_BYTES_MAX {
            assert_eq!(intake.offer(channel(1), large.clone()), Ok(()));
        }
        assert_eq!(
            intake.offer(channel(1), large.clone()),
            Err(OfferError::Full)
        );
        let too_large = Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]);
        assert_eq!(
            intake.offer(channel(2), too_large),
            Err(OfferError::TooLarge)
        );
        for _ in 0..BYTES_MAX / MESSAGE_BYTES_MAX {
            assert!(matches!(
                next_now(&mut deliveries),
                Some(Some(BusInput::Message(_, _)))
            ));
        }
        assert_eq!(
            intake.offer(channel(1), large),
            Ok(()),
            "what was taken makes room"
        );
        assert_eq!(
            next_now(&mut deliveries),
            Some(Some(BusInput::Lost(channel(1))))
        );
        assert_eq!(
            next_now(&mut deliveries),
            Some(Some(BusInput::Lost(channel(2))))
        );
    }

    #[test]
    fn deliveries_end_when_all_senders_are_gone_and_the_queue_is_empty() {
        let (intake, mut deliveries) = bus_input_queue();
        let other = intake.clone();
        intake.mark_all_lost();
        drop(intake);
        assert_eq!(next_now(&mut deliveries), Some(Some(BusInput::LostAll)));
        assert_eq!(next_now(&mut deliveries), None);
        drop(other);
        assert_eq!(next_now(&mut deliveries), Some(None));
    }

    #[test]
    fn messages_for_a_dropped_receiver_are_not_queued() {
        let (intake, deliveries) = bus_input_queue();
        let kept = Arc::clone(&deliveries.0);
        drop(deliveries);
        assert_eq!(intake.offer(channel(1), Bytes::from_static(b"m")), Ok(()));
        assert!(kept.state.lock().queue.is_empty());
    }
}
