//! How long to wait before connecting again.

use std::time::Duration;

use rand::Rng;

const DELAY_MIN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(1);

/// Waits that double, each shortened by up to half at random, so that instances that lost the same server don't come
/// back to it at the same moment.
pub(super) struct ReconnectBackoff(Duration);

impl Default for ReconnectBackoff {
    fn default() -> Self {
        Self(DELAY_MIN)
    }
}

impl ReconnectBackoff {
    /// The next wait.
    pub(super) fn next_delay(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(DELAY_MAX);
        wait.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnect_waits_double_up_to_a_second_with_jitter() {
        let mut backoff = ReconnectBackoff::default();
        for whole in [50, 100, 200, 400, 800, 1_000, 1_000, 1_000].map(Duration::from_millis) {
            let wait = backoff.next_delay();
            assert!(whole / 2 <= wait && wait <= whole, "{wait:?} of {whole:?}");
        }
    }
}
