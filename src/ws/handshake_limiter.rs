//! The limit on upgrades per second, so that a storm of reconnects leaves processor time to
//! connections that are open. An upgrade that comes too fast waits for its turn; if the wait would
//! be too long, it is refused with a retry delay.

use std::net::IpAddr;
use std::time::Duration;

use crate::limits::rate::RateLimitExceeded;
use crate::limits::rate_limiter::RateLimiter;

const SECOND: Duration = Duration::from_secs(1);
/// The longest time that an upgrade waits for its turn.
const WAIT_MAX: Duration = SECOND;
/// One address may use at most this fraction (one fifth) of the rate.
const ADDRESS_SHARE_DIVISOR: u32 = 5;

pub(super) struct HandshakeLimiter {
    total: RateLimiter<()>,
    per_address: RateLimiter<IpAddr>,
}

impl HandshakeLimiter {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            total: RateLimiter::new(per_second, SECOND),
            per_address: RateLimiter::new(per_second.div_ceil(ADDRESS_SHARE_DIVISOR), SECOND),
        }
    }

    /// Reserves a turn for an upgrade from an address and returns how long to wait for it. Fails if
    /// the wait would be longer than [`WAIT_MAX`]; nothing is reserved then.
    pub(super) fn reserve(&self, address: IpAddr) -> Result<Duration, RateLimitExceeded> {
        let address_wait = self.per_address.reserve(&address, WAIT_MAX)?;
        let total_wait = self
            .total
            .reserve(&(), WAIT_MAX)
            .inspect_err(|_| self.per_address.refund(&address))?;
        Ok(address_wait.max(total_wait))
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
        let limiter = HandshakeLimiter::new(100);
        let mut waits: Vec<_> = std::iter::from_fn(|| limiter.reserve(address(1)).ok()).collect();
        assert_eq!(
            waits.len(),
            40,
            "twenty at once, and twenty that wait up to a second"
        );
        assert!(
            waits.is_sorted() && waits[19].is_zero() && !waits[20].is_zero(),
            "{waits:?}"
        );
        assert_eq!(limiter.reserve(address(2)), Ok(Duration::ZERO));
        for last in 3..20 {
            waits.extend(std::iter::from_fn(|| limiter.reserve(address(last)).ok()));
        }
        assert_eq!(waits.len() + 1, 200);
        assert!(
            limiter
                .reserve(address(99))
                .is_err_and(|exceeded| exceeded.retry_after > WAIT_MAX)
        );
        tokio::time::advance(SECOND * 3).await;
        assert_eq!(
            limiter.reserve(address(99)),
            Ok(Duration::ZERO),
            "a refusal charges nothing"
        );
    }
}
