//! The lease: one small write a second says that this instance lives, and teaches it the database's time.

use crate::clock::Clock;
use crate::store::{Instance, Renewal, Store, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tracing::{error, warn};

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
    /// The name of the history of the database that is being served.
    pub lineage: String,
}

impl Keeper {
    /// Renews the lease until it is lost for good: another process has it, or the database has another history than
    /// the one that this process serves. A store that cannot be reached is tried again for ever, and a renewal that
    /// takes longer than the lease lasts counts as that. `renewed` is called after each success.
    pub async fn run(self, renewed: impl Fn()) {
        let mut ticks = interval_at(Instant::now() + self.renew, self.renew);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match timeout(self.ttl, self.store.renew(&self.instance, self.ttl)).await {
                Ok(Ok(Renewal { now, lineage })) => {
                    if lineage != self.lineage {
                        return error!(lineage, "the database has another history now");
                    }
                    self.clock.learn(now);
                    renewed();
                }
                Ok(Err(error @ StoreError::Refused { .. })) => return error!(?error, "the lease is lost"),
                Ok(Err(error)) => warn!(?error, "the lease was not renewed"),
                Err(_) => warn!("the lease was not renewed in time"),
            }
        }
    }
}
