//! Daily maintenance: that of the store, and the deletion of guests who are not used.

use std::sync::Arc;
use std::time::Duration;

use raidhall_protocol::UnixMillis;
use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::store::{self, Store};
use crate::telemetry::metrics;

/// Interval between two rounds of maintenance.
const INTERVAL: Duration = Duration::from_secs(24 * 3_600);
const DAY_MS: i64 = 24 * 3_600 * 1_000;
/// Players that one statement looks at.
const BATCH_PLAYERS: u32 = 200;
/// Pause after each of these statements, so that they do not take the database from the players.
const BATCH_PAUSE: Duration = Duration::from_millis(100);

/// How long data is kept that is not used.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Options {
    /// Days after which a guest who is not used is deleted; 0 for never.
    pub unused_guest_days: u32,
}

/// Task that maintains the store.
pub struct Maintenance {
    /// Store that is maintained.
    pub store: Arc<dyn Store>,
    /// Clock that follows the database's time.
    pub clock: Arc<Clock>,
    /// Retention of unused data.
    pub options: Options,
}

impl Maintenance {
    /// Maintains the store at once and then daily, until dropped.
    pub async fn run(self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.store.maintain(self.clock.now()).await {
                Ok(report) => metrics()
                    .partition_default_rows
                    .set(report.default_partition_rows as f64),
                Err(error) => warn!(?error, "store maintenance failed; retrying in 24 h"),
            }
            if self.options.unused_guest_days == 0 {
                continue;
            }
            let days = i64::from(self.options.unused_guest_days);
            match delete_unused_guests(&*self.store, days, self.clock.now()).await {
                Ok(0) => {}
                Ok(count) => info!(count, "deleted guests that were not used"),
                Err(error) => warn!(?error, "deleting unused guests failed; retrying in 24 h"),
            }
        }
    }
}

/// Deletes, batch by batch, all guests who have not been used for a number of days. Returns how
/// many.
async fn delete_unused_guests(store: &dyn Store, days: i64, now: UnixMillis) -> store::Result<u64> {
    let unused_since = now.plus(-days * DAY_MS);
    let mut after = None;
    let mut count = 0;
    loop {
        let batch = store
            .delete_unused_guests(after, BATCH_PLAYERS, unused_since, now)
            .await?;
        count += batch.count;
        if batch.last.is_none() {
            return Ok(count);
        }
        after = batch.last;
        sleep(BATCH_PAUSE).await;
    }
}
