//! Limit on the commands of a player: one [`Rate`] per player for all connections and requests.
//!
//! Commands are charged here, in memory. Where instances share their limits, each of them reports
//! now and then what was charged since its last report, and learns what all of them have charged.
//! Between two reports a player can exceed the limit by one burst per instance; the excess is a
//! debt, which every instance makes the player wait for.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use raidhall_protocol::PlayerId;

use crate::limits::rate::{QuotaStatus, Rate, RateLimitExceeded};
use crate::limits::rate_limiter::RateLimiter;

/// The period whose allowance a player may use in one burst.
const BURST_SECS: u32 = 2;

/// Limit on the commands of each player.
pub struct CommandLimiter {
    rate: Rate,
    limiter: RateLimiter<PlayerId>,
    /// Charges that other instances do not know of yet; `None` if there are no other instances.
    unreported: Option<Mutex<HashMap<PlayerId, u32>>>,
}

impl CommandLimiter {
    /// Creates a limiter of commands per second, and twice as many in a burst. If it `is_shared`,
    /// call [`CommandLimiter::take_unreported`] regularly.
    pub fn new(per_second: u32, is_shared: bool) -> Self {
        let burst = per_second.saturating_mul(BURST_SECS);
        let rate = Rate::new(burst, Duration::from_secs(BURST_SECS.into()));
        Self {
            rate,
            limiter: RateLimiter::from_rate(rate),
            unreported: is_shared.then(Mutex::default),
        }
    }

    /// Returns the rate of each player.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Charges one command, or nothing if the player's allowance is exhausted.
    pub fn charge(&self, player: PlayerId) -> Result<QuotaStatus, RateLimitExceeded> {
        let Some(unreported) = &self.unreported else {
            return self.limiter.charge(&player);
        };
        let mut unreported = unreported.lock();
        let status = self.limiter.charge(&player)?;
        *unreported.entry(player).or_default() += 1;
        Ok(status)
    }

    /// Returns what was charged to each player since the last call.
    pub fn take_unreported(&self) -> Vec<(PlayerId, u32)> {
        let Some(unreported) = &self.unreported else {
            return Vec::new();
        };
        unreported.lock().drain().collect()
    }

    /// Sets how long a player's allowance takes to be full again after the charges that all
    /// instances have reported. Charges that are not reported yet are added.
    pub fn set_reported(&self, player: PlayerId, used: Duration) {
        let Some(unreported) = &self.unreported else {
            return;
        };
        let unreported = unreported.lock();
        let own = unreported.get(&player).copied().unwrap_or(0);
        self.limiter
            .set_used(&player, used + self.rate.interval() * own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn player() -> PlayerId {
        PlayerId::try_from(7_u64).expect("an id")
    }

    #[tokio::test(start_paused = true)]
    async fn reported_charges_of_other_instances_count_and_unreported_ones_are_kept() {
        let limiter = CommandLimiter::new(20, true);
        for _ in 0..10 {
            limiter.charge(player()).expect("allowed");
        }
        assert_eq!(limiter.take_unreported(), [(player(), 10)]);
        for _ in 0..3 {
            limiter.charge(player()).expect("allowed");
        }
        // The other instances have charged 20, this one 10 and 3.
        limiter.set_reported(player(), limiter.rate().interval() * 30);
        let status = limiter.charge(player()).expect("allowed");
        assert_eq!((status.limit, status.remaining), (40, 6));
        assert_eq!(limiter.take_unreported(), [(player(), 4)]);
        limiter.set_reported(player(), limiter.rate().interval() * 60);
        let exceeded = limiter.charge(player()).expect_err("a debt of 20");
        assert_eq!(exceeded.retry_after, limiter.rate().interval() * 21);
        assert_eq!(limiter.take_unreported(), [], "a refusal is no charge");
    }

    #[test]
    fn a_limiter_without_other_instances_keeps_no_report() {
        let limiter = CommandLimiter::new(20, false);
        limiter.charge(player()).expect("allowed");
        assert_eq!(limiter.take_unreported(), []);
    }
}
