//! When a delivery that failed is tried again.

use std::time::Duration;

/// After the first try, the second and so on, in seconds: what Standard Webhooks recommends, about four days in all. Then a
/// delivery is dead.
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
/// The longest that somebody may ask to be left alone, and that they are.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);
/// New messages are held back for as long after the last failure, at most: so an endpoint that is back is soon noticed, and
/// one that is down is not knocked on for each of them.
const BACKOFF_MAX: Duration = Duration::from_secs(5 * 60);
/// After the first failure in a row.
const BACKOFF_MIN: Duration = Duration::from_secs(5);

/// After what time a delivery that was tried so often is tried again; none: it is dead. `luck`, from 0 to 1, spreads those
/// that failed together over a fifth to either side. `asked` is what the endpoint wished for.
pub(super) fn retry_delay(attempts: u32, luck: f64, asked: Option<Duration>) -> Option<Duration> {
    let place = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let planned = Duration::from_secs(*RETRY_DELAYS_SECS.get(place)?)
        .mul_f64(0.8 + 0.4 * luck.clamp(0.0, 1.0));
    Some(planned.max(asked.unwrap_or_default().min(RETRY_AFTER_MAX)))
}

/// How long new messages are held back after so many failures in a row.
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
        let planned =
            |luck| (1..=9).map(move |attempts| retry_delay(attempts, luck, None).expect("again"));
        let days = |luck| planned(luck).sum::<Duration>().as_secs_f64() / 86_400.0;
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
            "it is no way to be asked sooner"
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
