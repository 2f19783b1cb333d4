//! Watches whether the feed moves. It stands still behind a transaction that writes and stays open,
//! in any database of the same Postgres server, and with it webhooks, bans and sign-outs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use crate::store::{OpenTransaction, Store};
use crate::telemetry::metrics;

/// Interval between two looks at the oldest transaction.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long the feed may stand still before `/readyz` reports it.
const DELAY_MAX: Duration = Duration::from_secs(30);
/// Interval between two log lines about one transaction; the first comes after as long.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Task that watches the feed.
pub struct FeedMonitor {
    /// Store of the feed.
    pub store: Arc<dyn Store>,
}

/// The transaction behind which the feed stands still, and since when it has been seen.
struct SeenTransaction {
    id: u64,
    since: Instant,
    warned_at: Instant,
}

impl FeedMonitor {
    /// Watches until dropped. Calls `set_delayed` after each look.
    pub async fn run(self, set_delayed: impl Fn(bool)) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut delay = FeedDelay::default();
        loop {
            ticks.tick().await;
            match self.store.oldest_open_transaction().await {
                Ok(oldest) => {
                    let age = delay.update(oldest);
                    metrics().feed_delay.set(age.as_secs_f64());
                    set_delayed(age >= DELAY_MAX);
                }
                // The lease's renewals report a store that fails.
                Err(error) => tracing::debug!(?error, "looking for open transactions failed"),
            }
        }
    }
}

/// How long the feed has stood still.
#[derive(Default)]
struct FeedDelay(Option<SeenTransaction>);

impl FeedDelay {
    /// Returns the delay, given the oldest open transaction, and logs it once a minute.
    fn update(&mut self, oldest: Option<OpenTransaction>) -> Duration {
        let now = Instant::now();
        let Some(OpenTransaction { id, pid, database }) = oldest else {
            self.0 = None;
            return Duration::ZERO;
        };
        let seen = self.0.take_if(|seen| seen.id == id);
        let seen = self.0.insert(seen.unwrap_or(SeenTransaction {
            id,
            since: now,
            warned_at: now,
        }));
        let delay = now - seen.since;
        if now - seen.warned_at >= WARNING_INTERVAL {
            seen.warned_at = now;
            warn!(
                pid,
                database,
                age_s = delay.as_secs(),
                "the feed and webhooks stand still behind a transaction that stays open"
            );
        }
        delay
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_feed_is_delayed_for_as_long_as_one_transaction_is_the_oldest() {
        let mut delay = FeedDelay::default();
        let mut update = |id: u64| {
            let (pid, database) = (Some(7), None);
            delay.update(Some(OpenTransaction { id, pid, database }))
        };
        assert_eq!(update(5), Duration::ZERO);
        advance(DELAY_MAX).await;
        assert_eq!(update(5), DELAY_MAX);
        assert_eq!(update(6), Duration::ZERO, "the next one is new");
        advance(INTERVAL).await;
        assert_eq!(update(6), INTERVAL);
        assert_eq!(delay.update(None), Duration::ZERO);
    }
}
