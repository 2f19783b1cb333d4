//! Following a raid from another instance than its owner's: a bounded feed of what is heard about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use futures_util::FutureExt;
use raidhall_protocol::RaidId;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::cluster::bus::{Bus, Channel};
use crate::cluster::message::Envelope;
use crate::store::RaidHead;

/// What waits for one follower. When it is full, what comes is dropped and the follower told to look at the store.
const UPDATES_MAX: usize = 256;

/// How long a confirmation may take; without one, the poll of heads heals what is missed.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// What a follower hears.
#[derive(Debug, Clone, PartialEq)]
pub enum RaidUpdate {
    /// An instance said something.
    Message(Envelope),
    /// The store's own word.
    Head(RaidHead),
    /// Something may have been missed: only the store knows.
    Lost,
}

/// Who follows what.
#[derive(Default)]
pub(super) struct RaidSubscriptions {
    entries: DashMap<RaidId, SubscriptionEntry>,
    next_id: AtomicU64,
}

struct SubscriptionEntry {
    id: u64,
    channels: Vec<Channel>,
    sender: mpsc::Sender<RaidUpdate>,
    lost: Arc<LostFlag>,
}

#[derive(Default)]
struct LostFlag {
    is_set: AtomicBool,
    changed: Notify,
}

/// A raid being followed, until this is dropped.
pub struct RaidSubscription {
    subscriptions: Arc<RaidSubscriptions>,
    bus: Option<Arc<dyn Bus>>,
    raid: RaidId,
    id: u64,
    channels: Vec<Channel>,
    updates: mpsc::Receiver<RaidUpdate>,
    lost: Arc<LostFlag>,
}

impl RaidSubscription {
    pub(super) fn new(
        subscriptions: Arc<RaidSubscriptions>,
        bus: Option<Arc<dyn Bus>>,
        raid: RaidId,
        channels: &[Channel],
    ) -> RaidSubscription {
        let (sender, updates) = mpsc::channel(UPDATES_MAX);
        let id = subscriptions.next_id.fetch_add(1, Ordering::Relaxed);
        let (lost, channels) = (Arc::<LostFlag>::default(), channels.to_vec());
        // Whoever followed before is about to stop: its channels are ours to give up then.
        let mut own = channels.clone();
        let before = subscriptions
            .entries
            .remove(&raid)
            .map_or_else(Vec::new, |(_, feed)| feed.channels);
        own.extend(
            before
                .into_iter()
                .filter(|channel| !channels.contains(channel)),
        );
        subscriptions.entries.insert(
            raid,
            SubscriptionEntry {
                id,
                channels: own,
                sender,
                lost: Arc::clone(&lost),
            },
        );
        RaidSubscription {
            subscriptions,
            bus,
            raid,
            id,
            channels,
            updates,
            lost,
        }
    }

    /// Begins to subscribe, and waits for nothing.
    pub fn start_subscribing(&self) {
        let _ = self.subscribe().now_or_never();
    }

    /// Subscribes, and waits for the bus to confirm it, but no longer than a moment: what is missed until it has is found
    /// in the store.
    pub async fn subscribe(&self) {
        if let Some(bus) = &self.bus {
            let _ = timeout(SUBSCRIBE_TIMEOUT, bus.subscribe(&self.channels)).await;
        }
    }

    /// The next thing heard. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> RaidUpdate {
        loop {
            // First: what is behind it in the feed is of no use before the store was looked at.
            if self.lost.is_set.swap(false, Ordering::AcqRel) {
                return RaidUpdate::Lost;
            }
            tokio::select! { biased;
                () = self.lost.changed.notified() => {}
                heard = self.updates.recv() => match heard {
                    Some(heard) => return heard,
                    // Another follower has taken this one's place.
                    None => return std::future::pending().await,
                },
            }
        }
    }
}

impl Drop for RaidSubscription {
    fn drop(&mut self) {
        let number = self.id;
        // Under the entry's lock, so that a successor subscribes after this.
        self.subscriptions.entries.remove_if(&self.raid, |_, feed| {
            let ours = feed.id == number;
            if let (true, Some(bus)) = (ours, &self.bus) {
                bus.unsubscribe(&feed.channels);
            }
            ours
        });
    }
}

impl SubscriptionEntry {
    fn push(&self, heard: RaidUpdate) {
        if heard == RaidUpdate::Lost || self.sender.try_send(heard).is_err() {
            self.lost.is_set.store(true, Ordering::Release);
            self.lost.changed.notify_one();
        }
    }
}

impl RaidSubscriptions {
    pub(super) fn dispatch(&self, raid: RaidId, heard: RaidUpdate) {
        if let Some(feed) = self.entries.get(&raid) {
            feed.push(heard);
        }
    }

    pub(super) fn raids_with_events(&self) -> Vec<RaidId> {
        let whole = |feed: &SubscriptionEntry| {
            feed.channels
                .iter()
                .any(|channel| matches!(channel, Channel::Events(_)))
        };
        self.entries
            .iter()
            .filter(|feed| whole(feed))
            .map(|feed| *feed.key())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raid() -> RaidId {
        RaidId::try_from(7_u64).expect("an id")
    }

    #[tokio::test]
    async fn an_overflowing_subscription_reports_the_loss_first() {
        let follows = Arc::<RaidSubscriptions>::default();
        let mut following = RaidSubscription::new(
            Arc::clone(&follows),
            None,
            raid(),
            &[Channel::Events(raid())],
        );
        let head = RaidHead {
            owner: None,
            epoch: crate::store::Epoch(1),
            last_seq: raidhall_protocol::Seq(1),
        };
        for _ in 0..=UPDATES_MAX {
            follows.dispatch(raid(), RaidUpdate::Head(head));
        }
        assert_eq!(following.next().await, RaidUpdate::Lost);
        assert_eq!(following.next().await, RaidUpdate::Head(head));
    }

    #[tokio::test]
    async fn dropping_a_replaced_subscription_keeps_its_channels() {
        let follows = Arc::<RaidSubscriptions>::default();
        let first = RaidSubscription::new(
            Arc::clone(&follows),
            None,
            raid(),
            &[Channel::Events(raid())],
        );
        let mut second =
            RaidSubscription::new(Arc::clone(&follows), None, raid(), &[Channel::Live(raid())]);
        drop(first);
        follows.dispatch(raid(), RaidUpdate::Lost);
        assert_eq!(second.next().await, RaidUpdate::Lost);
        let channels = follows.entries.get(&raid()).map(|feed| feed.channels.len());
        assert_eq!(
            channels,
            Some(2),
            "what the first subscribed to is the second's to give up"
        );
        drop(second);
        assert!(follows.entries.is_empty());
    }
}
