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
const FEED: usize = 256;

/// How long a confirmation may take; without one, the poll of heads heals what is missed.
const CONFIRM_PATIENCE: Duration = Duration::from_millis(1_500);

/// What a follower hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// An instance said something.
    Said(Envelope),
    /// The store's own word.
    Head(RaidHead),
    /// Something may have been missed: only the store knows.
    Lost,
}

/// Who follows what.
#[derive(Default)]
pub(super) struct Follows {
    feeds: DashMap<RaidId, Feed>,
    next: AtomicU64,
}

struct Feed {
    number: u64,
    channels: Vec<Channel>,
    sender: mpsc::Sender<Heard>,
    lost: Arc<Lost>,
}

#[derive(Default)]
struct Lost {
    flag: AtomicBool,
    wake: Notify,
}

/// A raid being followed, until this is dropped.
pub struct Following {
    follows: Arc<Follows>,
    bus: Option<Arc<dyn Bus>>,
    raid: RaidId,
    number: u64,
    channels: Vec<Channel>,
    feed: mpsc::Receiver<Heard>,
    lost: Arc<Lost>,
}

impl Following {
    pub(super) fn new(
        follows: Arc<Follows>,
        bus: Option<Arc<dyn Bus>>,
        raid: RaidId,
        channels: &[Channel],
    ) -> Following {
        let (sender, feed) = mpsc::channel(FEED);
        let number = follows.next.fetch_add(1, Ordering::Relaxed);
        let (lost, channels) = (Arc::<Lost>::default(), channels.to_vec());
        // Whoever followed before is about to stop: its channels are ours to give up then.
        let mut own = channels.clone();
        let before = follows
            .feeds
            .remove(&raid)
            .map_or_else(Vec::new, |(_, feed)| feed.channels);
        own.extend(
            before
                .into_iter()
                .filter(|channel| !channels.contains(channel)),
        );
        follows.feeds.insert(
            raid,
            Feed {
                number,
                channels: own,
                sender,
                lost: Arc::clone(&lost),
            },
        );
        Following {
            follows,
            bus,
            raid,
            number,
            channels,
            feed,
            lost,
        }
    }

    /// Begins to subscribe, and waits for nothing.
    pub fn begin(&self) {
        let _ = self.confirm().now_or_never();
    }

    /// Subscribes, and waits for the bus to confirm it, but no longer than a moment: what is missed until it has is found
    /// in the store.
    pub async fn confirm(&self) {
        if let Some(bus) = &self.bus {
            let _ = timeout(CONFIRM_PATIENCE, bus.subscribe(&self.channels)).await;
        }
    }

    /// The next thing heard. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Heard {
        loop {
            // First: what is behind it in the feed is of no use before the store was looked at.
            if self.lost.flag.swap(false, Ordering::AcqRel) {
                return Heard::Lost;
            }
            tokio::select! { biased;
                () = self.lost.wake.notified() => {}
                heard = self.feed.recv() => match heard {
                    Some(heard) => return heard,
                    // Another follower has taken this one's place.
                    None => return std::future::pending().await,
                },
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let number = self.number;
        // Under the entry's lock, so that a successor subscribes after this.
        self.follows.feeds.remove_if(&self.raid, |_, feed| {
            let ours = feed.number == number;
            if let (true, Some(bus)) = (ours, &self.bus) {
                bus.unsubscribe(&feed.channels);
            }
            ours
        });
    }
}

impl Feed {
    fn hand(&self, heard: Heard) {
        if heard == Heard::Lost || self.sender.try_send(heard).is_err() {
            self.lost.flag.store(true, Ordering::Release);
            self.lost.wake.notify_one();
        }
    }
}

impl Follows {
    pub(super) fn hand(&self, raid: RaidId, heard: Heard) {
        if let Some(feed) = self.feeds.get(&raid) {
            feed.hand(heard);
        }
    }

    pub(super) fn whole(&self) -> Vec<RaidId> {
        let whole = |feed: &Feed| {
            feed.channels
                .iter()
                .any(|channel| matches!(channel, Channel::Events(_)))
        };
        self.feeds
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
    async fn a_feed_that_overflows_says_so_first() {
        let follows = Arc::<Follows>::default();
        let mut following = Following::new(
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
        for _ in 0..=FEED {
            follows.hand(raid(), Heard::Head(head));
        }
        assert_eq!(following.next().await, Heard::Lost);
        assert_eq!(following.next().await, Heard::Head(head));
    }

    #[tokio::test]
    async fn a_follower_that_was_replaced_takes_nothing_with_it() {
        let follows = Arc::<Follows>::default();
        let first = Following::new(
            Arc::clone(&follows),
            None,
            raid(),
            &[Channel::Events(raid())],
        );
        let mut second =
            Following::new(Arc::clone(&follows), None, raid(), &[Channel::Live(raid())]);
        drop(first);
        follows.hand(raid(), Heard::Lost);
        assert_eq!(second.next().await, Heard::Lost);
        let channels = follows.feeds.get(&raid()).map(|feed| feed.channels.len());
        assert_eq!(
            channels,
            Some(2),
            "what the first subscribed to is the second's to give up"
        );
        drop(second);
        assert!(follows.feeds.is_empty());
    }
}
