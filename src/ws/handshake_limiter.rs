//! How many upgrades there are in a second, so that a storm of them leaves the processor to who is connected already.
//! One that comes too fast waits for its turn; where the wait were too long, it is told when to come back.

use std::net::IpAddr;
use std::time::Duration;

use crate::limits::rate::RateLimitExceeded;
use crate::limits::rate_limiter::RateLimiter;

const SECOND: Duration = Duration::from_secs(1);
/// The longest wait for a turn.
const WAIT_MAX: Duration = SECOND;
/// One address takes no more than such a part of all turns.
const ADDRESS_SHARE_DIVISOR: u32 = 5;

pub(super) struct HandshakeLimiter {
    total: RateLimiter<()>,
    per_address: RateLimiter<IpAddr>,
}

impl HandshakeLimiter {
    /// So many a second.
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            total: RateLimiter::new(per_second, SECOND),
            per_address: RateLimiter::new(per_second.div_ceil(ADDRESS_SHARE_DIVISOR), SECOND),
        }
    }

    /// How long this one waits for its turn.
    pub(super) fn reserve(&self, address: IpAddr) -> Result<Duration, RateLimitExceeded> {
        let own = self.per_address.reserve(&address, WAIT_MAX)?;
        let all = self
            .total
            .reserve(&(), WAIT_MAX)
            .inspect_err(|_| self.per_address.refund(&address))?;
        Ok(own.max(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_cannot_use_up_the_handshakes_of_another() {
        let turns = HandshakeLimiter::new(100);
        let mut waits: Vec<_> = std::iter::from_fn(|| turns.reserve(address(1)).ok()).collect();
        assert_eq!(
            waits.len(),
            40,
            "twenty at once, and a second's worth of those who wait"
        );
        assert!(
            waits.is_sorted() && waits[19].is_zero() && !waits[20].is_zero(),
            "{waits:?}"
        );
        assert_eq!(turns.reserve(address(2)), Ok(Duration::ZERO));
        for last in 3..20 {
            waits.extend(std::iter::from_fn(|| turns.reserve(address(last)).ok()));
        }
        assert_eq!(waits.len() + 1, 200);
        assert!(
            turns
                .reserve(address(99))
                .is_err_and(|exceeded| exceeded.retry_after > WAIT_MAX)
        );
        tokio::time::advance(SECOND * 3).await;
        assert_eq!(
            turns.reserve(address(99)),
            Ok(Duration::ZERO),
            "a refusal is not held against it"
        );
    }
}
