//! How many upgrades there are in a second, so that a storm of them leaves the processor to who is connected already.
//! One that comes too fast waits for its turn; where the wait were too long, it is told when to come back.

use std::net::IpAddr;
use std::time::Duration;

use crate::limits::rate::Exceeded;
use crate::limits::rate_limiter::Limiter;

const SECOND: Duration = Duration::from_secs(1);
/// The longest wait for a turn.
const PATIENCE: Duration = SECOND;
/// One address takes no more than such a part of all turns.
const ADDRESS_SHARE: u32 = 5;

pub(super) struct Turns {
    all: Limiter<()>,
    of_address: Limiter<IpAddr>,
}

impl Turns {
    /// So many a second.
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            all: Limiter::new(per_second, SECOND),
            of_address: Limiter::new(per_second.div_ceil(ADDRESS_SHARE), SECOND),
        }
    }

    /// How long this one waits for its turn.
    pub(super) fn take(&self, address: IpAddr) -> Result<Duration, Exceeded> {
        let own = self.of_address.reserve(&address, PATIENCE)?;
        let all = self
            .all
            .reserve(&(), PATIENCE)
            .inspect_err(|_| self.of_address.refund(&address))?;
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
    async fn one_address_waits_and_is_refused_before_others_notice() {
        let turns = Turns::new(100);
        let mut waits: Vec<_> = std::iter::from_fn(|| turns.take(address(1)).ok()).collect();
        assert_eq!(
            waits.len(),
            40,
            "twenty at once, and a second's worth of those who wait"
        );
        assert!(
            waits.is_sorted() && waits[19].is_zero() && !waits[20].is_zero(),
            "{waits:?}"
        );
        assert_eq!(turns.take(address(2)), Ok(Duration::ZERO));
        for last in 3..20 {
            waits.extend(std::iter::from_fn(|| turns.take(address(last)).ok()));
        }
        assert_eq!(waits.len() + 1, 200);
        assert!(
            turns
                .take(address(99))
                .is_err_and(|exceeded| exceeded.retry_after > PATIENCE)
        );
        tokio::time::advance(SECOND * 3).await;
        assert_eq!(
            turns.take(address(99)),
            Ok(Duration::ZERO),
            "a refusal is not held against it"
        );
    }
}
