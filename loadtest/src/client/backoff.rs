//! When to come back after a connection was lost, by the class of its close code.

use std::time::Duration;

use rand::Rng;

/// What a close code's class tells a client to do. Old clients act on new codes by their class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseClass {
    /// 4001: get a new token first.
    RenewToken,
    /// The other 40xx, and what RFC 6455 says of broken frames: never retry.
    Stop,
    /// 41xx: back off.
    BackOff,
    /// 42xx: come back now and resume.
    Resume,
    /// No code, or one that says nothing about load: come back, but not all at once.
    Lost,
}

impl CloseClass {
    /// The class of a close code; none when the connection ended without one.
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

/// Exponential back-off with full jitter: a random time below a ceiling that doubles, reset by lasting success.
/// (M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.)
#[derive(Debug, Clone, Copy)]
pub struct ReconnectDelay {
    base: Duration,
    ceiling_max: Duration,
    failures: u32,
}

/// A connection that lasted this long makes earlier failures forgotten.
pub(super) const STABLE_UPTIME: Duration = Duration::from_secs(5);

impl ReconnectDelay {
    /// For an overloaded server: 1 s doubling to 30 s.
    pub const fn for_overload() -> ReconnectDelay {
        ReconnectDelay {
            base: Duration::from_secs(1),
            ceiling_max: Duration::from_secs(30),
            failures: 0,
        }
    }

    /// For a server that went away without a word: 200 ms doubling to 3 s.
    pub const fn for_lost_connection() -> ReconnectDelay {
        ReconnectDelay {
            base: Duration::from_millis(200),
            ceiling_max: Duration::from_secs(3),
            failures: 0,
        }
    }

    /// How long to wait before the next try.
    pub fn next_wait(&mut self, rng: &mut impl Rng) -> Duration {
        let ceiling = self
            .base
            .saturating_mul(1 << self.failures.min(16))
            .min(self.ceiling_max);
        self.failures += 1;
        ceiling.mul_f64(rng.random())
    }

    /// Forgets earlier failures.
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
