//! The lease: one small write a second says that this instance lives, and teaches it the database's time.

use crate::clock::Clock;
use crate::store::{Instance, Renewal, Store};
use parking_lot::RwLock;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tracing::warn;

/// What keeping a lease needs.
pub struct Keeper {
    /// Where the lease is kept.
    pub store: Arc<dyn Store>,
    /// Whose it is.
    pub instance: Instance,
    /// How long it lasts from each renewal.
    pub ttl: Duration,
    /// How often it is renewed.
    pub renew: Duration,
    /// Learns the database's time.
    pub clock: Arc<Clock>,
    /// Learns the name of this history of the database.
    pub lineage: Arc<RwLock<String>>,
}

impl Keeper {
    /// Renews the lease until dropped; `renewed` is called after each success. A renewal that takes longer than the
    /// lease lasts counts as failed.
    pub async fn run(self, renewed: impl Fn()) {
        let mut ticks = interval_at(Instant::now() + self.renew, self.renew);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match timeout(self.ttl, self.store.renew(&self.instance, self.ttl)).await {
                Ok(Ok(Renewal { now, lineage })) => {
                    self.clock.learn(now);
                    if *self.lineage.read() != lineage {
                        warn!(lineage, "the database has another history now");
                        *self.lineage.write() = lineage;
                    }
                    renewed();
                }
                Ok(Err(error)) => warn!(?error, "the lease was not renewed"),
                Err(_) => warn!("the lease was not renewed in time"),
            }
        }
    }
}
