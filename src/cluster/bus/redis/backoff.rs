//! Back-off between attempts to connect.

use std::time::Duration;

use rand::Rng;

const DELAY_MIN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(1);

/// Delays that double, each shortened by up to half at random, so that instances that lost the same
/// server do not reconnect at the same moment.
pub(super) struct ReconnectBackoff(Duration);

impl Default for ReconnectBackoff {
    fn default() -> Self {
        Self(DELAY_MIN)
    }
}

impl ReconnectBackoff {
    /// Returns the delay before the next attempt.
    pub(super) fn next_delay(&mut self) -> Duration {
        let delay = self.0;
        self.0 = (delay * 2).min(DELAY_MAX);
        delay.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnect_waits_double_up_to_a_second_with_jitter() {
        let mut backoff = ReconnectBackoff::default();
        for full in [50, 100, 200, 400, 800, 1_000, 1_000, 1_000].map(Duration::from_millis) {
            let delay = backoff.next_delay();
            assert!(full / 2 <= delay && delay <= full, "{delay:?} of {full:?}");
        }
    }
}
