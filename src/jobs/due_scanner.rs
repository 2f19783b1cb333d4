//! Deadlines of raids that nobody serves: they fire though nobody is connected.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::clock::Clock;
use crate::option_value::millis;
use crate::session::Registry;
use crate::store::{InstanceId, Store};

/// Raids made live at once; the rest follows with the next scan.
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

/// What scanning needs.
pub struct DueScanner {
    /// Where raids are.
    pub store: Arc<dyn Store>,
    /// Where they are made live.
    pub sessions: Registry,
    /// Who looks.
    pub instance: InstanceId,
    /// What time it is.
    pub clock: Arc<Clock>,
    /// How often, and how far ahead, to look.
    pub options: Options,
}

impl DueScanner {
    /// Looks until dropped. Gives back raids whose sessions ended as well: both are due once a second.
    pub async fn run(self) {
        let mut ticks = interval(self.options.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ahead = i64::try_from(self.options.lead_time.as_millis()).unwrap_or(i64::MAX);
        loop {
            ticks.tick().await;
            self.sessions.release_idle().await;
            match self
                .store
                .due_raids(
                    self.instance,
                    self.clock.now().plus(ahead),
                    RAIDS_PER_SCAN_MAX,
                )
                .await
            {
                Ok(raids) => raids
                    .into_iter()
                    .for_each(|raid| self.sessions.ensure_live(raid)),
                Err(error) => warn!(?error, "due raids could not be looked up"),
            }
        }
    }
}
