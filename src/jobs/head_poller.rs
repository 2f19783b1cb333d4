//! The poll that makes a lost message harmless: how far the raids are that we follow, by the store's own word.
//!
//! One indexed read, every few seconds, every second while the bus is not proven to work, and at once when it says that
//! anything may have been missed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::cluster::client::Link;
use crate::store::Store;

/// How often it is polled while the bus is not proven.
const EVERY: Duration = Duration::from_secs(1);
/// While it is proven, it is polled at each so many times of these.
const PROVEN: u32 = 5;
/// Raids in one read.
const RAIDS: usize = 5_000;

/// What polling needs.
pub struct Heads {
    /// Who is asked.
    pub store: Arc<dyn Store>,
    /// What is followed, and who is told.
    pub link: Link,
    /// Wakes the poll.
    pub now: Arc<Notify>,
}

impl Heads {
    /// Polls until dropped.
    pub async fn run(self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut proven, mut skipped) = (self.link.proven(), 0);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    skipped += 1;
                    if *proven.borrow_and_update() && skipped < PROVEN {
                        continue;
                    }
                }
                () = self.now.notified() => {}
            }
            skipped = 0;
            self.poll().await;
        }
    }

    async fn poll(&self) {
        for raids in self.link.followed().chunks(RAIDS) {
            match self.store.heads(raids).await {
                Ok(heads) => heads
                    .into_iter()
                    .for_each(|(raid, head)| self.link.hand_head(raid, head)),
                Err(error) => {
                    return warn!(?error, "the heads of followed raids could not be read");
                }
            }
        }
    }
}
