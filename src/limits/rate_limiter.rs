//! How often somebody may do something: a [`Rate`] per key.
//!
//! A charge can be taken back, so that what is limited may be known only after it was tried: wrong invite codes count
//! and right ones don't, yet no number of concurrent tries goes beyond the limit.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::limits::rate::{QuotaStatus, Rate, RateLimitExceeded};

/// From this many keys on, those that are back at their full allowance are forgotten now and then.
const SWEEP_FROM: usize = 1024;

/// An allowance of some number in some time, for each key. It starts full and comes back evenly.
pub struct RateLimiter<K> {
    rate: Rate,
    state: Mutex<RateLimiterState<K>>,
}

struct RateLimiterState<K> {
    /// When the key's allowance will be full again; not in here: it is.
    full_at: HashMap<K, Instant>,
    sweep_at: usize,
}

impl<K: Eq + Hash + Clone> RateLimiter<K> {
    /// `limit` in each `period`, for each key.
    pub fn new(limit: u32, period: Duration) -> Self {
        Self::from_rate(Rate::new(limit, period))
    }

    /// The rate for each key.
    pub fn from_rate(rate: Rate) -> Self {
        let state = Mutex::new(RateLimiterState {
            full_at: HashMap::new(),
            sweep_at: SWEEP_FROM,
        });
        RateLimiter { rate, state }
    }

    /// Charges one, unless the allowance is used up; then nothing is charged.
    pub fn charge(&self, key: &K) -> Result<QuotaStatus, RateLimitExceeded> {
        self.try_charge(key, Duration::ZERO)
            .map(|(used, _)| self.rate.quota_status(used))
    }

    /// Charges one that may be used after the time that is given, unless that is more than `patience`.
    pub fn reserve(&self, key: &K, patience: Duration) -> Result<Duration, RateLimitExceeded> {
        self.try_charge(key, patience).map(|(_, wait)| wait)
    }

    /// When the allowance is full again after the charge, and the wait for it.
    fn try_charge(
        &self,
        key: &K,
        patience: Duration,
    ) -> Result<(Duration, Duration), RateLimitExceeded> {
        let now = Instant::now();
        let mut keys = self.state.lock();
        let full_at = keys.full_at.get(key).copied().unwrap_or(now);
        let (charged, wait) = self.rate.reserve(full_at, now, patience)?;
        keys.full_at.insert(key.clone(), charged);
        keys.sweep(now);
        Ok((charged - now, wait))
    }

    /// Takes one charge back.
    pub fn refund(&self, key: &K) {
        if let Some(full_at) = self.state.lock().full_at.get_mut(key) {
            *full_at = self.rate.refund(*full_at);
        }
    }
}

impl<K: Eq + Hash> RateLimiterState<K> {
    /// Forgets those whose allowance is full, once their number has doubled: so that memory is bounded by how many were
    /// charged within one period, and the work per charge by a constant.
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
