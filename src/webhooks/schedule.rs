//! Schedule of retries for failed deliveries.

use std::time::Duration;

/// Delays after the first, second and further failed attempts, in seconds: the recommendation of
/// Standard Webhooks, about four days in all. After the last one a delivery is dead.
const RETRY_DELAYS_SECS: [u64; 9] = [
    5,
    5 * 60,
    30 * 60,
    2 * 3_600,
    5 * 3_600,
    10 * 3_600,
    14 * 3_600,
    20 * 3_600,
    24 * 3_600,
];
/// Longest delay that an endpoint can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Longest back-off after failures in a row: short enough to notice soon that an endpoint is back,
/// long enough not to post every new message to one that is down.
const BACKOFF_MAX: Duration = Duration::from_secs(5 * 60);
/// Back-off after the first failure in a row.
const BACKOFF_MIN: Duration = Duration::from_secs(5);

/// Returns the delay before the next attempt of a delivery that has failed `attempts` times; `None`
/// if it is dead. `jitter`, from 0 to 1, spreads deliveries that failed together over a fifth to
/// either side. `requested` is the delay that the endpoint asked for.
pub(super) fn retry_delay(
    attempts: u32,
    jitter: f64,
    requested: Option<Duration>,
) -> Option<Duration> {
    let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let planned = Duration::from_secs(*RETRY_DELAYS_SECS.get(index)?)
        .mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0));
    Some(planned.max(requested.unwrap_or_default().min(RETRY_AFTER_MAX)))
}

/// Returns how long new messages are held back after a number of failures in a row.
pub(super) fn backoff_delay(failures: u32) -> Duration {
    let doubled = failures
        .checked_sub(1)
        .map(|more| BACKOFF_MIN.saturating_mul(1 << more.min(16)));
    doubled.unwrap_or_default().min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_abandoned_after_ten_attempts_over_four_days() {
        let planned = |jitter| {
            (1..=9).map(move |attempts| retry_delay(attempts, jitter, None).expect("again"))
        };
        let days = |jitter| planned(jitter).sum::<Duration>().as_secs_f64() / 86_400.0;
        assert!(days(0.5) > 3.0 && days(1.0) < 4.5);
        assert!(planned(0.5).is_sorted());
        assert_eq!(retry_delay(1, 0.5, None), Some(Duration::from_secs(5)));
        assert_eq!(
            (retry_delay(1, 0.0, None), retry_delay(1, 1.0, None)),
            (secs(4), secs(6))
        );
        assert_eq!(
            (
                retry_delay(10, 0.5, None),
                retry_delay(u32::MAX, 0.5, secs(9))
            ),
            (None, None)
        );
    }

    #[test]
    fn the_retry_after_of_an_endpoint_is_honored_within_limits() {
        assert_eq!(retry_delay(1, 0.5, secs(60)), secs(60));
        assert_eq!(
            retry_delay(3, 0.5, secs(60)),
            secs(1_800),
            "a shorter Retry-After does not shorten the delay"
        );
        assert_eq!(retry_delay(1, 0.5, secs(u64::MAX)), Some(RETRY_AFTER_MAX));
    }

    #[test]
    fn new_messages_are_delayed_longer_per_failure_up_to_five_minutes() {
        assert_eq!(backoff_delay(0), Duration::ZERO);
        let held: Vec<_> = (1..=8)
            .map(|failures| backoff_delay(failures).as_secs())
            .collect();
        assert_eq!(held, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff_delay(u32::MAX), BACKOFF_MAX);
    }

    fn secs(secs: u64) -> Option<Duration> {
        Some(Duration::from_secs(secs))
    }
}
