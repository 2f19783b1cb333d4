//! Random completions of tasks: what counts, whatever the order, the times and the zones.

use std::collections::BTreeMap;

use proptest::prelude::*;
use raidhall_protocol::UnixMillis;

use super::{Stream, time};
use crate::definitions::Definitions;

const ZONES: [&str; 6] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Australia/Lord_Howe",
];

#[derive(Debug, Clone, Copy)]
struct Completion {
    /// Time since the completion before; less than zero if raids are seen out of order.
    elapsed_millis: i64,
    xp: u64,
    is_ranked: bool,
    /// The zone and start hour to which the player changes first.
    change: Option<(usize, u8)>,
}

fn completions(
    elapsed_millis: std::ops::Range<i64>,
    change: impl Strategy<Value = Option<(usize, u8)>>,
) -> impl Strategy<Value = Vec<Completion>> {
    let completion = (elapsed_millis, 1..=1_000_u64, any::<bool>(), change);
    let completion = completion.prop_map(|(elapsed_millis, xp, is_ranked, change)| Completion {
        elapsed_millis,
        xp,
        is_ranked,
        change,
    });
    prop::collection::vec(completion, 1..60)
}

fn changes() -> impl Strategy<Value = Option<(usize, u8)>> {
    prop::option::weighted(0.3, (0..ZONES.len(), 0..=6_u8))
}

/// Sums what counts by the ranked flag and the key that `day_of` returns, and checks each sum and
/// the player's totals.
fn check(
    mut stream: Stream,
    completions: &[Completion],
    day_of: impl Fn(&Stream, UnixMillis) -> String,
) -> Result<(), TestCaseError> {
    let max = Definitions::built_in();
    let mut at = time("2026-03-27T12:00Z");
    let mut sums = BTreeMap::new();
    let mut uncounted = 0;
    for completion in completions {
        if let Some((zone, start_hour)) = completion.change {
            stream.set("zone", ZONES[zone]);
            stream.set("day_start_hour", start_hour);
        }
        at = at.plus(completion.elapsed_millis);
        let (earned, max) = if completion.is_ranked {
            let earned = stream.complete_ranked(at, completion.xp);
            (earned, max.ranked_xp_per_day)
        } else {
            let earned = stream.complete(at, completion.xp);
            (earned, max.casual_xp_per_day)
        };
        uncounted += completion.xp - earned.counted;
        let key = (completion.is_ranked, day_of(&stream, at));
        let sum = sums.entry(key).or_insert(0);
        *sum += earned.counted;
        prop_assert!(*sum <= max, "{sum} of {max} on {}", day_of(&stream, at));
        let state = &stream.fold.state;
        prop_assert_eq!(state.xp + uncounted, state.earned_xp);
    }
    prop_assert_eq!(stream.fold.state.tasks, completions.len() as u64);
    Ok(())
}

proptest! {
    #[test]
    fn what_counts_in_one_date_of_a_zone_is_within_the_allowance(
        zone in 0..ZONES.len(),
        start_hour in 0..=6_u8,
        completions in completions(0..30_000_000, Just(None)),
    ) {
        let stream = Stream::with_day(ZONES[zone], start_hour);
        let date = |stream: &Stream, at| stream.fold.day_settings().day_of(at).to_string();
        check(stream, &completions, date)?;
    }

    #[test]
    fn what_counts_between_renewals_is_within_the_allowance(
        completions in completions(-20_000_000..40_000_000, changes()),
    ) {
        let since = |stream: &Stream, _| {
            let day = stream.fold.allowance_day.as_ref();
            day.expect("a day with a task").since.to_string()
        };
        check(Stream::new(), &completions, since)?;
    }

    /// A renewal needs a later date by the settings at the start of the day, and by those of now.
    #[test]
    fn a_change_of_the_zone_never_shortens_a_day(
        completions in completions(0..30_000_000, changes()),
    ) {
        let mut stream = Stream::new();
        let mut at = time("2026-03-27T12:00Z");
        for completion in completions {
            let before = stream.fold.allowance_day.clone();
            if let Some((zone, start_hour)) = completion.change {
                stream.set("zone", ZONES[zone]);
                stream.set("day_start_hour", start_hour);
            }
            at = at.plus(completion.elapsed_millis);
            stream.complete(at, completion.xp);
            let after = stream.fold.allowance_day.clone().expect("a day");
            let Some(before) = before.filter(|before| before.since != after.since) else {
                continue;
            };
            for settings in [&before.settings, &after.settings] {
                prop_assert!(settings.day_of(before.since) < settings.day_of(at));
            }
        }
    }
}
