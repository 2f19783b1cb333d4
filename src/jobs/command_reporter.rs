//! Reports the commands that this instance has charged to players to the limits that all instances
//! share, and applies what the others have charged. No command waits for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::cluster::bus::redis::{SharedLimits, shared_key};
use crate::limits::command_limiter::CommandLimiter;

/// Interval between two reports.
const INTERVAL: Duration = Duration::from_millis(200);

/// Task that shares the limit on commands with the other instances.
pub struct CommandReporter {
    /// Limits of this instance.
    pub limiter: Arc<CommandLimiter>,
    /// Limits that all instances share.
    pub shared: SharedLimits,
    /// Lineage of the database.
    pub lineage: String,
}

impl CommandReporter {
    /// Reports until dropped. While the shared limits fail, this instance counts alone.
    pub async fn run(self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.report().await;
        }
    }

    async fn report(&self) {
        let (players, charges): (Vec<_>, Vec<_>) = self
            .limiter
            .take_unreported()
            .into_iter()
            .map(|(player, count)| {
                let key = shared_key(&self.lineage, player, "command");
                (player, (key, count))
            })
            .unzip();
        if charges.is_empty() {
            return;
        }
        let reported = self.shared.report(&charges, self.limiter.rate()).await;
        for (player, used) in players.into_iter().zip(reported.unwrap_or_default()) {
            self.limiter.set_reported(player, used);
        }
    }
}
