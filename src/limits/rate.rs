//! How often something may be done: a token bucket, kept as one moment (GCRA, ITU-T I.371).
//!
//! Unlike `governor`'s it can take a charge back, and it runs on tokio's clock, so that tests need not wait.

use std::time::Duration;

use tokio::time::Instant;

/// An allowance of some number in some time, which starts full and comes back evenly.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    limit: u32,
    interval: Duration,
}

/// Too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitExceeded {
    /// How many there may be at once.
    pub limit: u32,
    /// When there may be one more.
    pub retry_after: Duration,
    /// When there may be `limit` again.
    pub reset_after: Duration,
}

/// What is left of an allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaStatus {
    /// How many there may be at once.
    pub limit: u32,
    /// How many there still may be now.
    pub remaining: u32,
    /// When there may be `limit` again.
    pub reset_after: Duration,
}

impl Rate {
    /// How many there may be at once.
    pub const fn limit(self) -> u32 {
        self.limit
    }

    /// How long one takes to come back.
    pub const fn interval(self) -> Duration {
        self.interval
    }

    /// `limit` in each `period`; one at least.
    pub fn new(limit: u32, period: Duration) -> Self {
        let limit = limit.max(1);
        Self {
            limit,
            interval: period / limit,
        }
    }

    /// What is left of an allowance that is full again after `used`.
    pub fn quota_status(self, used: Duration) -> QuotaStatus {
        let left = (self.interval * self.limit).saturating_sub(used);
        let remaining = left.as_nanos() / self.interval.as_nanos().max(1);
        QuotaStatus {
            limit: self.limit,
            remaining: u32::try_from(remaining).unwrap_or(self.limit),
            reset_after: used,
        }
    }

    /// Why one more is too much for an allowance that is full again after `used`.
    pub fn exceeded(self, used: Duration) -> RateLimitExceeded {
        let retry_after = (used + self.interval).saturating_sub(self.interval * self.limit);
        RateLimitExceeded {
            limit: self.limit,
            retry_after,
            reset_after: used,
        }
    }

    /// Charges one at `now` to an allowance that is full again at `full_at`, and gives the moment at which it now will
    /// be. If it is used up, nothing is charged.
    pub fn charge(self, full_at: Instant, now: Instant) -> Result<Instant, RateLimitExceeded> {
        self.reserve(full_at, now, Duration::ZERO)
            .map(|(full_at, _)| full_at)
    }

    /// Charges one likewise, for whoever waits before using it, up to `patience`; and gives how long.
    pub fn reserve(
        self,
        full_at: Instant,
        now: Instant,
        patience: Duration,
    ) -> Result<(Instant, Duration), RateLimitExceeded> {
        let full_at = full_at.max(now);
        let charged = full_at + self.interval;
        let (used, allowance) = (charged - now, self.interval * self.limit);
        let wait = used.saturating_sub(allowance);
        if wait > patience {
            return Err(self.exceeded(full_at - now));
        }
        Ok((charged, wait))
    }

    /// Charges `count`, whether there is so much left or not, and gives the moment at which the allowance is full again.
    pub fn charge_unchecked(self, full_at: Instant, now: Instant, count: u32) -> Instant {
        full_at.max(now) + self.interval * count
    }

    /// How long nothing more may be charged to an allowance that is full again at `full_at`; zero: one may at once.
    pub fn time_until_available(self, full_at: Instant, now: Instant) -> Duration {
        full_at
            .saturating_duration_since(now)
            .saturating_sub(self.interval * self.limit)
    }

    /// The moment at which an allowance is full again after one charge was taken back.
    pub fn refund(self, full_at: Instant) -> Instant {
        full_at.checked_sub(self.interval).unwrap_or(full_at)
    }
}
