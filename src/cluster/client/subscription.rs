//! A follower's subscription to a raid: a bounded queue of updates from the bus and the store.

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

/// Maximum number of updates in the queue. When it is full, an update is dropped and the follower
/// receives [`RaidUpdate::Lost`].
const UPDATES_MAX: usize = 256;

/// Longest wait for a confirmation; without one, the poll of raid heads finds what is missed.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Update that a follower receives about its raid.
#[derive(Debug, Clone, PartialEq)]
pub enum RaidUpdate {
    /// A message of another instance.
    Message(Envelope),
    /// The raid's head in the store.
    Head(RaidHead),
    /// Updates may have been missed: the follower must read the store.
    Lost,
}

/// The subscriptions of this instance, at most one per raid.
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

/// A subscription to one raid, until it is dropped.
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
        let lost = Arc::<LostFlag>::default();
        let channels = channels.to_vec();
        // A previous subscription to the raid is about to be dropped. This one takes over its
        // channels, to unsubscribe them later.
        let mut all_channels = channels.clone();
        let replaced = subscriptions
            .entries
            .remove(&raid)
            .map_or_else(Vec::new, |(_, entry)| entry.channels);
        all_channels.extend(
            replaced
                .into_iter()
                .filter(|channel| !channels.contains(channel)),
        );
        subscriptions.entries.insert(
            raid,
            SubscriptionEntry {
                id,
                channels: all_channels,
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

    /// Starts to subscribe without waiting.
    pub fn start_subscribing(&self) {
        let _ = self.subscribe().now_or_never();
    }

    /// Subscribes, and waits a moment for the confirmation. What is missed before the confirmation
    /// is found in the store.
    pub async fn subscribe(&self) {
        if let Some(bus) = &self.bus {
            let _ = timeout(SUBSCRIBE_TIMEOUT, bus.subscribe(&self.channels)).await;
        }
    }

    /// Returns the next update. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> RaidUpdate {
        loop {
            // A loss comes first: queued updates are of no use before the store has been read.
            if self.lost.is_set.swap(false, Ordering::AcqRel) {
                return RaidUpdate::Lost;
            }
            tokio::select! { biased;
                () = self.lost.changed.notified() => {}
                update = self.updates.recv() => match update {
                    Some(update) => return update,
                    // A newer subscription to the raid has replaced this one.
                    None => return std::future::pending().await,
                },
            }
        }
    }
}

impl Drop for RaidSubscription {
    fn drop(&mut self) {
        let id = self.id;
        // Under the entry's lock, so that a new subscription subscribes only after this
        // unsubscription.
        self.subscriptions
            .entries
            .remove_if(&self.raid, |_, entry| {
                let ours = entry.id == id;
                if let (true, Some(bus)) = (ours, &self.bus) {
                    bus.unsubscribe(&entry.channels);
                }
                ours
            });
    }
}

impl SubscriptionEntry {
    fn push(&self, update: RaidUpdate) {
        if update == RaidUpdate::Lost || self.sender.try_send(update).is_err() {
            self.lost.is_set.store(true, Ordering::Release);
            self.lost.changed.notify_one();
        }
    }
}

impl RaidSubscriptions {
    pub(super) fn dispatch(&self, raid: RaidId, update: RaidUpdate) {
        if let Some(entry) = self.entries.get(&raid) {
            entry.push(update);
        }
    }

    pub(super) fn raids_with_events(&self) -> Vec<RaidId> {
        let has_events = |entry: &SubscriptionEntry| {
            entry
                .channels
                .iter()
                .any(|channel| matches!(channel, Channel::Events(_)))
        };
        let followed = self.entries.iter().filter(|entry| has_events(entry));
        let mut raids: Vec<_> = followed.map(|entry| *entry.key()).collect();
        raids.sort_unstable();
        raids
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
        let subscriptions = Arc::<RaidSubscriptions>::default();
        let mut following = RaidSubscription::new(
            Arc::clone(&subscriptions),
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
            subscriptions.dispatch(raid(), RaidUpdate::Head(head));
        }
        assert_eq!(following.next().await, RaidUpdate::Lost);
        assert_eq!(following.next().await, RaidUpdate::Head(head));
    }

    #[tokio::test]
    async fn dropping_a_replaced_subscription_keeps_its_channels() {
        let subscriptions = Arc::<RaidSubscriptions>::default();
        let first = RaidSubscription::new(
            Arc::clone(&subscriptions),
            None,
            raid(),
            &[Channel::Events(raid())],
        );
        let mut second = RaidSubscription::new(
            Arc::clone(&subscriptions),
            None,
            raid(),
            &[Channel::Live(raid())],
        );
        drop(first);
        subscriptions.dispatch(raid(), RaidUpdate::Lost);
        assert_eq!(second.next().await, RaidUpdate::Lost);
        let channels = subscriptions
            .entries
            .get(&raid())
            .map(|entry| entry.channels.len());
        assert_eq!(
            channels,
            Some(2),
            "what the first subscribed to is the second's to give up"
        );
        drop(second);
        assert!(subscriptions.entries.is_empty());
    }
}
