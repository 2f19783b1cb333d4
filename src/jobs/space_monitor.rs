//! Watches the space of the database. While it is low, new raids and guests are refused, so that
//! what is left is for the raids that there are.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use crate::store::{DatabaseSpace, Store};
use crate::telemetry::metrics;

/// Interval between two looks at the space.
const INTERVAL: Duration = Duration::from_secs(30);

/// When the space of the database counts as low.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Options {
    /// Free bytes on the volume of a SQLite file; 0 for no limit.
    #[serde(rename = "disk_free_bytes")]
    pub free_bytes_min: u64,
    /// Bytes of the database; 0 for no limit.
    #[serde(rename = "database_bytes")]
    pub used_bytes_max: u64,
}

impl Options {
    fn is_low(self, space: DatabaseSpace) -> bool {
        let is_volume_full = space
            .free_bytes
            .is_some_and(|free| free < self.free_bytes_min);
        is_volume_full || self.used_bytes_max > 0 && space.used_bytes > self.used_bytes_max
    }
}

/// Task that watches the space.
pub struct SpaceMonitor {
    /// Store whose space is watched.
    pub store: Arc<dyn Store>,
    /// Limits of the space.
    pub options: Options,
}

impl SpaceMonitor {
    /// Watches until dropped. Calls `set_low` after each look.
    pub async fn run(self, set_low: impl Fn(bool)) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_low = false;
        loop {
            ticks.tick().await;
            let space = match self.store.space().await {
                Ok(Some(space)) => space,
                Ok(None) => continue,
                // The lease's renewals report a store that fails.
                Err(error) => {
                    debug!(?error, "looking for the database's space failed");
                    continue;
                }
            };
            let is_low = self.options.is_low(space);
            metrics().database_bytes.set(space.used_bytes as f64);
            if let Some(free) = space.free_bytes {
                metrics().disk_free_bytes.set(free as f64);
            }
            metrics().space_low.set(f64::from(u8::from(is_low)));
            log_change(was_low, is_low, space);
            set_low(is_low);
            was_low = is_low;
        }
    }
}

fn log_change(was_low: bool, is_low: bool, space: DatabaseSpace) {
    let DatabaseSpace {
        used_bytes,
        free_bytes,
    } = space;
    if is_low && !was_low {
        warn!(
            used_bytes,
            free_bytes, "the database's space is low; new raids and guests are refused"
        );
    } else if was_low && !is_low {
        info!(
            used_bytes,
            free_bytes, "the database has space again; new raids and guests are accepted"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_low_below_the_free_bytes_or_above_the_used_ones() {
        let space = |used_bytes, free_bytes| DatabaseSpace {
            used_bytes,
            free_bytes,
        };
        let options = Options {
            free_bytes_min: 100,
            used_bytes_max: 1_000,
        };
        assert!(!options.is_low(space(1_000, Some(100))));
        assert!(options.is_low(space(10, Some(99))));
        assert!(options.is_low(space(1_001, None)));
        let unlimited = Options {
            free_bytes_min: 0,
            used_bytes_max: 0,
        };
        assert!(!unlimited.is_low(space(u64::MAX, Some(0))));
    }
}
