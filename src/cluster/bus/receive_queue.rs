//! Receive queue of the bus: bounded, and explicit about what it dropped.
//!
//! When the queue is full, a message is dropped and its channel is marked once: a
//! [`BusInput::Lost`] takes the message's place in the queue. So a receiver repairs a channel at
//! most once per full queue, however fast messages arrive. Too many marks become one
//! [`BusInput::LostAll`].

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{BusInput, Channel};

/// Maximum number of messages in the queue.
const MESSAGES_MAX: usize = 8_192;
/// Maximum total size of the messages in the queue, in bytes.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest message in bytes.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Maximum number of channels that are marked as lost one by one.
const LOST_CHANNELS_MAX: usize = 10_000;

/// Creates a queue and returns its two ends.
pub fn bus_input_queue() -> (BusInputSender, BusInputReceiver) {
    let shared = Arc::new(BusInputShared::default());
    (
        BusInputSender(Arc::new(CloseOnDrop(Arc::clone(&shared)))),
        BusInputReceiver(shared),
    )
}

/// Sender of the queue, held by the bus. The receiver ends when the last clone is dropped.
#[derive(Clone)]
pub struct BusInputSender(Arc<CloseOnDrop>);

/// Receiver of the queue, read in order by one task.
pub struct BusInputReceiver(Arc<BusInputShared>);

/// Reason why a message was dropped and its channel marked as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferError {
    /// The queue is full: the receiver is too slow.
    Full,
    /// The message is longer than `MESSAGE_BYTES_MAX`.
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
    /// Whether the receiver or all senders are gone.
    is_closed: bool,
}

impl BusInputSender {
    /// Queues a message; never waits.
    ///
    /// # Errors
    ///
    /// The message was dropped, and its channel is marked as lost.
    pub fn offer(&self, channel: Channel, message: Bytes) -> Result<(), OfferError> {
        self.update(|state| {
            let error = if message.len() > MESSAGE_BYTES_MAX {
                OfferError::TooLarge
            } else if state.message_count == MESSAGES_MAX
                || state.message_bytes + message.len() > BYTES_MAX
            {
                OfferError::Full
            } else {
                state.message_count += 1;
                state.message_bytes += message.len();
                state.queue.push_back(BusInput::Message(channel, message));
                return Ok(());
            };
            state.mark_lost(channel);
            Err(error)
        })
    }

    /// Reports that messages of this channel were missed.
    pub fn mark_lost(&self, channel: Channel) {
        self.update(|state| state.mark_lost(channel));
    }

    /// Reports that messages of every channel may have been missed.
    pub fn mark_all_lost(&self) {
        self.update(BusInputState::mark_all_lost);
    }

    fn update<T>(&self, change: impl FnOnce(&mut BusInputState) -> T) -> T {
        let shared = &self.0.0;
        let mut state = shared.state.lock();
        let result = change(&mut state);
        if state.is_closed {
            // No receiver will take it.
            *state = BusInputState {
                is_closed: true,
                ..BusInputState::default()
            };
        }
        drop(state);
        shared.arrived.notify_one();
        result
    }
}

impl BusInputReceiver {
    /// Returns the next input; `None` when all senders are gone and the queue is empty. Nothing is
    /// lost if the future is dropped.
    pub async fn next(&mut self) -> Option<BusInput> {
        loop {
            {
                let mut state = self.0.state.lock();
                if let Some(input) = state.pop() {
                    return Some(input);
                }
                if state.is_closed {
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
    /// Marks a channel once: a mark still in the queue also covers later losses.
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
        let input = self.queue.pop_front()?;
        match &input {
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
            // Releases the memory that a burst needed.
            self.queue.shrink_to(256);
        }
        Some(input)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use raidhall_protocol::RaidId;

    use super::*;

    /// Returns the next input without waiting; `None` if there is none yet.
    fn next_now(receiver: &mut BusInputReceiver) -> Option<Option<BusInput>> {
        receiver.next().now_or_never()
    }

    fn channel(raid: u64) -> Channel {
        Channel::Events(RaidId::try_from(raid).expect("an id"))
    }

    fn fill(sender: &BusInputSender, channel: Channel) {
        for _ in 0..MESSAGES_MAX {
            assert_eq!(sender.offer(channel, Bytes::from_static(b"m")), Ok(()));
        }
    }

    #[test]
    fn an_overflow_marks_each_lost_channel_once_after_queued_messages() {
        let (sender, mut receiver) = bus_input_queue();
        fill(&sender, channel(1));
        for _ in 0..3 {
            assert_eq!(
                sender.offer(channel(2), Bytes::from_static(b"m")),
                Err(OfferError::Full)
            );
            assert_eq!(
                sender.offer(channel(3), Bytes::from_static(b"m")),
                Err(OfferError::Full)
            );
        }
        for _ in 0..MESSAGES_MAX {
            let message = BusInput::Message(channel(1), Bytes::from_static(b"m"));
            assert_eq!(next_now(&mut receiver), Some(Some(message)));
        }
        assert_eq!(
            next_now(&mut receiver),
            Some(Some(BusInput::Lost(channel(2))))
        );
        assert_eq!(
            next_now(&mut receiver),
            Some(Some(BusInput::Lost(channel(3))))
        );
        assert_eq!(next_now(&mut receiver), None);
        sender.mark_lost(channel(2));
        assert_eq!(
            next_now(&mut receiver),
            Some(Some(BusInput::Lost(channel(2)))),
            "a later loss"
        );
    }

    #[test]
    fn too_many_lost_channels_become_a_loss_of_all_channels() {
        let (sender, mut receiver) = bus_input_queue();
        let channels = u64::try_from(LOST_CHANNELS_MAX).expect("fits") + 5;
        for raid in 1..=channels {
            sender.mark_lost(channel(raid));
        }
        for raid in 1..=channels - 5 {
            assert_eq!(
                next_now(&mut receiver),
                Some(Some(BusInput::Lost(channel(raid))))
            );
        }
        assert_eq!(next_now(&mut receiver), Some(Some(BusInput::LostAll)));
        assert_eq!(next_now(&mut receiver), None);
    }

    #[test]
    fn the_receive_queue_is_bounded_in_bytes_and_drops_oversized_messages() {
        let (sender, mut receiver) = bus_input_queue();
        let large = Bytes::from(vec![0; MESSAGE_BYTES_MAX]);
        for _ in 0..BYTES_MAX / MESSAGE_BYTES_MAX {
            assert_eq!(sender.offer(channel(1), large.clone()), Ok(()));
        }
        assert_eq!(
            sender.offer(channel(1), large.clone()),
            Err(OfferError::Full)
        );
        let too_large = Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]);
        assert_eq!(
            sender.offer(channel(2), too_large),
            Err(OfferError::TooLarge)
        );
        for _ in 0..BYTES_MAX / MESSAGE_BYTES_MAX {
            assert!(matches!(
                next_now(&mut receiver),
                Some(Some(BusInput::Message(_, _)))
            ));
        }
        assert_eq!(
            sender.offer(channel(1), large),
            Ok(()),
            "received messages free their space"
        );
        assert_eq!(
            next_now(&mut receiver),
            Some(Some(BusInput::Lost(channel(1))))
        );
        assert_eq!(
            next_now(&mut receiver),
            Some(Some(BusInput::Lost(channel(2))))
        );
    }

    #[test]
    fn the_receiver_ends_when_all_senders_are_gone_and_the_queue_is_empty() {
        let (sender, mut receiver) = bus_input_queue();
        let other = sender.clone();
        sender.mark_all_lost();
        drop(sender);
        assert_eq!(next_now(&mut receiver), Some(Some(BusInput::LostAll)));
        assert_eq!(next_now(&mut receiver), None);
        drop(other);
        assert_eq!(next_now(&mut receiver), Some(None));
    }

    #[test]
    fn messages_for_a_dropped_receiver_are_not_queued() {
        let (sender, receiver) = bus_input_queue();
        let kept = Arc::clone(&receiver.0);
        drop(receiver);
        assert_eq!(sender.offer(channel(1), Bytes::from_static(b"m")), Ok(()));
        assert!(kept.state.lock().queue.is_empty());
    }
}
