//! Rate limiter: one [`Rate`] per key.
//!
//! A charge can be refunded, so that an attempt can be charged before its outcome is known: wrong
//! invite codes count and right ones do not, yet no number of concurrent attempts exceeds the
//! limit.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::limits::rate::{QuotaStatus, Rate, RateLimitExceeded};

/// Number of keys from which on those with a full allowance are removed now and then.
const SWEEP_FROM: usize = 1024;

/// Allowance of a number of charges per period for each key. It starts full and refills evenly.
pub struct RateLimiter<K> {
    rate: Rate,
    state: Mutex<RateLimiterState<K>>,
}

struct RateLimiterState<K> {
    /// Time at which each key's allowance is full again. A key that is missing has a full
    /// allowance.
    full_at: HashMap<K, Instant>,
    sweep_at: usize,
}

impl<K: Eq + Hash + Clone> RateLimiter<K> {
    /// Creates a limiter of `limit` charges per `period` for each key.
    pub fn new(limit: u32, period: Duration) -> Self {
        Self::from_rate(Rate::new(limit, period))
    }

    /// Creates a limiter with this rate for each key.
    pub fn from_rate(rate: Rate) -> Self {
        let state = Mutex::new(RateLimiterState {
            full_at: HashMap::new(),
            sweep_at: SWEEP_FROM,
        });
        RateLimiter { rate, state }
    }

    /// Charges one, or nothing if the allowance is exhausted.
    pub fn charge(&self, key: &K) -> Result<QuotaStatus, RateLimitExceeded> {
        self.charge_count(key, 1)
    }

    /// Charges `count`, or nothing if less is left of the allowance.
    pub fn charge_count(&self, key: &K, count: u32) -> Result<QuotaStatus, RateLimitExceeded> {
        self.try_charge(key, count, Duration::ZERO)
            .map(|(used, _)| self.rate.quota_status(used))
    }

    /// Charges one that may be used after the returned wait, or nothing if that is longer than
    /// `wait_max`.
    pub fn reserve(&self, key: &K, wait_max: Duration) -> Result<Duration, RateLimitExceeded> {
        self.try_charge(key, 1, wait_max).map(|(_, wait)| wait)
    }

    /// Returns the time until the allowance is full again after the charge, and the wait for the
    /// charge.
    fn try_charge(
        &self,
        key: &K,
        count: u32,
        wait_max: Duration,
    ) -> Result<(Duration, Duration), RateLimitExceeded> {
        let now = Instant::now();
        let mut keys = self.state.lock();
        let full_at = keys.full_at.get(key).copied().unwrap_or(now);
        let (charged, wait) = self.rate.reserve(full_at, now, count, wait_max)?;
        keys.full_at.insert(key.clone(), charged);
        keys.sweep(now);
        Ok((charged - now, wait))
    }

    /// Sets how long the allowance of a key takes to be full again.
    pub fn set_used(&self, key: &K, used: Duration) {
        let full_at = Instant::now() + used;
        self.state.lock().full_at.insert(key.clone(), full_at);
    }

    /// Refunds one charge of a key.
    pub fn refund(&self, key: &K) {
        if let Some(full_at) = self.state.lock().full_at.get_mut(key) {
            *full_at = self.rate.refund(*full_at);
        }
    }
}

impl<K: Eq + Hash> RateLimiterState<K> {
    /// Removes keys with a full allowance once the number of keys has doubled. So memory is bounded
    /// by the number of keys that are charged within one period, and the work per charge by a
    /// constant.
    fn sweep(&mut self, now: Instant) {
        if self.full_at.len() < self.sweep_at {
            return;
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        self.full_at.shrink_to(SWEEP_FROM);
        self.sweep_at = SWEEP_FROM.max(self.full_at.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sixty_a_minute() -> RateLimiter<u32> {
        RateLimiter::new(60, SECOND * 60)
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_allowance_is_used_up_and_refills_evenly() {
        let limiter = sixty_a_minute();
        for _ in 0..60 {
            assert!(limiter.charge(&1).is_ok());
        }
        let exceeded = RateLimitExceeded {
            limit: 60,
            retry_after: SECOND,
            reset_after: SECOND * 60,
        };
        assert_eq!(limiter.charge(&1), Err(exceeded));
        assert!(limiter.charge(&2).is_ok(), "others are not concerned");
        advance(SECOND).await;
        assert!(limiter.charge(&1).is_ok());
        assert_eq!(
            limiter.charge(&1),
            Err(exceeded),
            "a refusal charges nothing"
        );
        advance(SECOND * 3600).await;
        for _ in 0..60 {
            assert!(limiter.charge(&1).is_ok());
        }
        assert!(
            limiter.charge(&1).is_err(),
            "no more is saved up than the limit"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_waits_its_turn_up_to_its_longest_wait() {
        let limiter = sixty_a_minute();
        for _ in 0..60 {
            assert_eq!(limiter.reserve(&1, SECOND * 2), Ok(Duration::ZERO));
        }
        assert_eq!(limiter.reserve(&1, SECOND * 2), Ok(SECOND));
        assert_eq!(limiter.reserve(&1, SECOND * 2), Ok(SECOND * 2));
        let exceeded = RateLimitExceeded {
            limit: 60,
            retry_after: SECOND * 3,
            reset_after: SECOND * 62,
        };
        assert_eq!(limiter.reserve(&1, SECOND * 2), Err(exceeded));
        advance(SECOND).await;
        assert_eq!(limiter.reserve(&1, SECOND * 2), Ok(SECOND * 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refunded_charge_does_not_count() {
        let limiter = sixty_a_minute();
        for _ in 0..1000 {
            assert!(limiter.charge(&1).is_ok());
            limiter.refund(&1);
        }
        limiter.refund(&2);
    }

    #[tokio::test(start_paused = true)]
    async fn rate_limiter_memory_is_bounded_by_recent_keys() {
        let limiter = sixty_a_minute();
        for key in 0..100_000 {
            assert!(limiter.charge(&key).is_ok());
            advance(Duration::from_millis(10)).await;
        }
        assert!(limiter.state.lock().full_at.len() <= SWEEP_FROM);
    }
}
