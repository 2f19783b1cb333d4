//! When to reconnect after a lost connection, by the class of its close code.

use std::time::Duration;

use rand::Rng;

/// The class of a close code: what it tells a client to do. A client that does not know a code acts
/// on its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseClass {
    /// 4001: get a new token before reconnecting.
    RenewToken,
    /// The other 40xx codes, and those that RFC 6455 defines for broken frames: never retry.
    Stop,
    /// 41xx: back off before reconnecting.
    BackOff,
    /// 42xx: reconnect now and resume.
    Resume,
    /// No code, or one that says nothing about load: reconnect with jitter, so that clients do not
    /// return all at once.
    Lost,
}

impl CloseClass {
    /// Returns the class of a close code; `None` stands for a connection that ended without one.
    pub const fn from_code(code: Option<u16>) -> CloseClass {
        match code {
            Some(4001) => Self::RenewToken,
            Some(4000..=4099 | 1002 | 1003 | 1007 | 1009) => Self::Stop,
            Some(4100..=4199) => Self::BackOff,
            Some(4200..=4299) => Self::Resume,
            _ => Self::Lost,
        }
    }
}

/// Exponential back-off with full jitter: a random time below a ceiling that doubles, reset by a
/// connection that lasts.
/// (M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.)
#[derive(Debug, Clone, Copy)]
pub struct ReconnectDelay {
    base: Duration,
    ceiling_max: Duration,
    failures: u32,
}

/// Minimum lifetime of a connection after which earlier failures are forgotten.
pub(super) const STABLE_UPTIME: Duration = Duration::from_secs(5);

impl ReconnectDelay {
    /// Returns the delay for an overloaded server: 1 s doubling to 30 s.
    pub const fn for_overload() -> ReconnectDelay {
        ReconnectDelay {
            base: Duration::from_secs(1),
            ceiling_max: Duration::from_secs(30),
            failures: 0,
        }
    }

    /// Returns the delay for a connection lost without a close code: 200 ms doubling to 3 s.
    pub const fn for_lost_connection() -> ReconnectDelay {
        ReconnectDelay {
            base: Duration::from_millis(200),
            ceiling_max: Duration::from_secs(3),
            failures: 0,
        }
    }

    /// Returns how long to wait before the next attempt, and counts a failure.
    pub fn next_wait(&mut self, rng: &mut impl Rng) -> Duration {
        let ceiling = self
            .base
            .saturating_mul(1 << self.failures.min(16))
            .min(self.ceiling_max);
        self.failures += 1;
        ceiling.mul_f64(rng.random())
    }

    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn close_codes_map_to_the_documented_classes() {
        for (code, class) in [
            (Some(4000), CloseClass::Stop),
            (Some(4001), CloseClass::RenewToken),
            (Some(4004), CloseClass::Stop),
            (Some(4077), CloseClass::Stop),
            (Some(4100), CloseClass::BackOff),
            (Some(4200), CloseClass::Resume),
            (Some(4299), CloseClass::Resume),
            (Some(1009), CloseClass::Stop),
            (Some(1001), CloseClass::Lost),
            (None, CloseClass::Lost),
        ] {
            assert_eq!(CloseClass::from_code(code), class, "{code:?}");
        }
    }

    #[test]
    fn the_backoff_ceiling_doubles_up_to_its_limit_and_resets() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut backoff = ReconnectDelay::for_overload();
        for ceiling in [1, 2, 4, 8, 16, 30, 30] {
            assert!(backoff.next_wait(&mut rng) <= Duration::from_secs(ceiling));
        }
        let late: Vec<_> = (0..50).map(|_| backoff.next_wait(&mut rng)).collect();
        assert!(
            late.iter().any(|wait| *wait > Duration::from_secs(15)),
            "jitter is full, not small"
        );
        backoff.reset();
        assert!(backoff.next_wait(&mut rng) <= Duration::from_secs(1));
    }
}
