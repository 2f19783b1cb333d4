//! The lease: one small write a second says that this instance lives, and teaches it the database's time.

use crate::clock::Clock;
use crate::store::{Instance, Renewal, Store, StoreError};
use parking_lot::RwLock;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tracing::{error, warn};

/// How long before its lease runs out an instance stops to rely on it: clocks drift, and answers take time.
const MARGIN: Duration = Duration::from_millis(500);

/// Until when this instance may speak for its raids. A process that slept beyond it must not serve what it remembers:
/// another may have gone on with the raids.
#[derive(Debug)]
pub struct Lease(RwLock<Option<Instant>>);

impl Lease {
    /// One that was asked for at `sent` and lasts for `ttl` from then at least.
    pub fn new(sent: Instant, ttl: Duration) -> Self {
        Self(RwLock::new(Some(sent + ttl.saturating_sub(MARGIN))))
    }

    /// One that nothing but the end of the process ends: a lock keeps all others out.
    pub const fn unlimited() -> Self {
        Self(RwLock::new(None))
    }

    /// Whether it holds now.
    pub fn holds(&self) -> bool {
        self.0.read().is_none_or(|until| Instant::now() < until)
    }

    /// It was renewed by a request that was sent at `sent`.
    pub fn renew(&self, sent: Instant, ttl: Duration) {
        if let Some(until) = &mut *self.0.write() {
            *until = sent + ttl.saturating_sub(MARGIN);
        }
    }
}

/// What keeping a lease needs.
pub struct Keeper {
    /// Where the lease is kept.
    pub store: Arc<dyn Store>,
    /// Whose it is.
    pub instance: Instance,
    /// What is kept.
    pub lease: Arc<Lease>,
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
            let sent = Instant::now();
            match timeout(self.ttl, self.store.renew(&self.instance, self.ttl)).await {
                Ok(Ok(Renewal { now, lineage, .. })) => {
                    if lineage != self.lineage {
                        return error!(lineage, "the database has another history now");
                    }
                    self.clock.learn(now);
                    self.lease.renew(sent, self.ttl);
                    renewed();
                }
                Ok(Err(error @ StoreError::Refused { .. })) => return error!(?error, "the lease is lost"),
                Ok(Err(error)) => warn!(?error, "the lease was not renewed"),
                Err(_) => warn!("the lease was not renewed in time"),
            }
        }
    }
}
