//! Token bucket, kept as a single time (GCRA, ITU-T I.371).
//!
//! Unlike `governor`'s it can refund a charge, and it runs on tokio's clock, so that tests need not
//! wait.

use std::time::Duration;

use tokio::time::Instant;

/// Allowance of a number of charges per period, which starts full and refills evenly.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    limit: u32,
    interval: Duration,
}

/// Error of a charge that exceeds the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitExceeded {
    /// Maximum number of charges at once.
    pub limit: u32,
    /// Time until one more charge is possible.
    pub retry_after: Duration,
    /// Time until the allowance is full again.
    pub reset_after: Duration,
}

/// What is left of an allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaStatus {
    /// Maximum number of charges at once.
    pub limit: u32,
    /// Charges that are possible now.
    pub remaining: u32,
    /// Time until the allowance is full again.
    pub reset_after: Duration,
}

impl Rate {
    /// Returns how many charges a full allowance permits at once.
    pub const fn limit(self) -> u32 {
        self.limit
    }

    /// Returns how long one charge takes to refill.
    pub const fn interval(self) -> Duration {
        self.interval
    }

    /// Creates a rate of `limit` charges, but at least one, per `period`.
    pub fn new(limit: u32, period: Duration) -> Self {
        let limit = limit.max(1);
        Self {
            limit,
            interval: period / limit,
        }
    }

    /// Returns what is left of an allowance that is full again after `used`.
    pub fn quota_status(self, used: Duration) -> QuotaStatus {
        let left = (self.interval * self.limit).saturating_sub(used);
        let remaining = left.as_nanos() / self.interval.as_nanos().max(1);
        QuotaStatus {
            limit: self.limit,
            remaining: u32::try_from(remaining).unwrap_or(self.limit),
            reset_after: used,
        }
    }

    /// Returns the error for one more charge to an allowance that is full again after `used`.
    pub fn exceeded(self, used: Duration) -> RateLimitExceeded {
        let retry_after = (used + self.interval).saturating_sub(self.interval * self.limit);
        RateLimitExceeded {
            limit: self.limit,
            retry_after,
            reset_after: used,
        }
    }

    /// Charges `count` at `now` to an allowance that is full again at `full_at`, for a caller that
    /// waits for its turn, up to `wait_max`. Returns the time at which the allowance will now be
    /// full again, and the wait. If the wait would be longer, nothing is charged.
    pub fn reserve(
        self,
        full_at: Instant,
        now: Instant,
        count: u32,
        wait_max: Duration,
    ) -> Result<(Instant, Duration), RateLimitExceeded> {
        let full_at = full_at.max(now);
        let charged = full_at + self.interval * count;
        let used = charged - now;
        let wait = used.saturating_sub(self.interval * self.limit);
        if wait > wait_max {
            return Err(self.exceeded(full_at - now));
        }
        Ok((charged, wait))
    }

    /// Charges `count`, even if less is left. Returns the time at which the allowance is full
    /// again.
    pub fn charge_unchecked(self, full_at: Instant, now: Instant, count: u32) -> Instant {
        full_at.max(now) + self.interval * count
    }

    /// Returns how long nothing more can be charged to an allowance that is full again at
    /// `full_at`; zero if a charge is possible now.
    pub fn time_until_available(self, full_at: Instant, now: Instant) -> Duration {
        full_at
            .saturating_duration_since(now)
            .saturating_sub(self.interval * self.limit)
    }

    /// Returns the time at which an allowance is full again after a refund of one charge.
    pub fn refund(self, full_at: Instant) -> Instant {
        full_at.checked_sub(self.interval).unwrap_or(full_at)
    }
}
