//! Deadlines of raids that no instance serves: they take effect even if no client is connected.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::clock::Clock;
use crate::option_value::millis;
use crate::session::Registry;
use crate::store::{InstanceId, Store};

/// Maximum number of raids that one scan makes live; the next scan continues behind them, so that
/// raids that cannot be served do not hold up the others.
const RAIDS_PER_SCAN_MAX: u32 = 200;

/// Timing of the scan.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Options {
    /// Interval between two scans.
    #[serde(rename = "due_scan_ms", deserialize_with = "millis")]
    pub interval: Duration,
    /// How long before its deadline a raid is made live.
    #[serde(rename = "due_ahead_ms", deserialize_with = "millis")]
    pub lead_time: Duration,
}

/// Task that makes raids live before their deadlines.
pub struct DueScanner {
    /// Store of the raids.
    pub store: Arc<dyn Store>,
    /// Registry in which due raids are made live.
    pub sessions: Registry,
    /// This instance: the scan covers its own raids and those without a live owner.
    pub instance: InstanceId,
    /// Clock that follows the database's.
    pub clock: Arc<Clock>,
    pub options: Options,
}

impl DueScanner {
    /// Scans until dropped. Each round also releases raids whose sessions have ended.
    pub async fn run(self) {
        let mut ticks = interval(self.options.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ahead = i64::try_from(self.options.lead_time.as_millis()).unwrap_or(i64::MAX);
        let mut after = None;
        loop {
            ticks.tick().await;
            self.sessions.release_idle().await;
            let now = self.clock.now();
            match self
                .store
                .due_raids(self.instance, after, now.plus(ahead), RAIDS_PER_SCAN_MAX)
                .await
            {
                Ok(due) => {
                    for due in &due {
                        self.sessions.ensure_live(due.raid);
                        if due.deadline <= now {
                            self.sessions.wake(due.raid);
                        }
                    }
                    let is_full_page = due.len() == RAIDS_PER_SCAN_MAX as usize;
                    after = due.last().copied().filter(|_| is_full_page);
                }
                Err(error) => warn!(
                    ?error,
                    "lookup of due raids failed; retrying at the next scan"
                ),
            }
        }
    }
}
