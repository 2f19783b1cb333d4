//! The poll that makes a lost message harmless: how far the raids are that we follow, by the store's own word.
//!
//! One indexed read, every few seconds, every second while the bus is not proven to work, and at once when it says that
//! anything may have been missed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::cluster::client::ClusterClient;
use crate::store::Store;

/// How often it is polled while the bus is not proven.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// While it is proven, it is polled at each so many times of these.
const HEALTHY_POLL_TICKS: u32 = 5;
/// Raids in one read.
const RAIDS_PER_READ_MAX: usize = 5_000;

/// What polling needs.
pub struct HeadPoller {
    /// Who is asked.
    pub store: Arc<dyn Store>,
    /// What is followed, and who is told.
    pub cluster: ClusterClient,
    /// Wakes the poll.
    pub poll_requested: Arc<Notify>,
}

impl HeadPoller {
    /// Polls until dropped.
    pub async fn run(self) {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut proven, mut skipped) = (self.cluster.watch_bus_health(), 0);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    skipped += 1;
                    if *proven.borrow_and_update() && skipped < HEALTHY_POLL_TICKS {
                        continue;
                    }
                }
                () = self.poll_requested.notified() => {}
            }
            skipped = 0;
            self.poll().await;
        }
    }

    async fn poll(&self) {
        for raids in self.cluster.followed_raids().chunks(RAIDS_PER_READ_MAX) {
            match self.store.heads(raids).await {
                Ok(heads) => heads
                    .into_iter()
                    .for_each(|(raid, head)| self.cluster.dispatch_head(raid, head)),
                Err(error) => {
                    return warn!(?error, "the heads of followed raids could not be read");
                }
            }
        }
    }
}
