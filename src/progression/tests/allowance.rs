//! How much XP of tasks counts in one day of a player.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::event::Allowance;

use super::{Counted, Stream, time};

const NOON: &str = "2026-11-28T12:00Z";

#[track_caller]
fn check(earned: Counted, counted: u64, ranked: bool, used: u64, since: UnixMillis) {
    let allowance = Some(Allowance {
        ranked,
        used,
        since,
    });
    assert_eq!(earned, Counted { counted, allowance });
}

/// Completes a task of 10 XP, and returns whether it counts: the allowance of the day before was
/// used up.
fn is_renewed(stream: &mut Stream, at: &str) -> bool {
    stream.complete(time(at), 10).counted == 10
}

#[test]
fn a_task_counts_below_the_allowance_at_it_and_not_beyond() {
    let at = time(NOON);
    let later = at.plus(1_000);
    let mut stream = Stream::new();
    check(stream.complete(at, 299), 299, false, 299, at);
    check(stream.complete(later, 1), 1, false, 300, at);
    check(stream.complete(later, 1), 0, false, 300, at);
    let state = &stream.fold.state;
    assert_eq!((state.xp, state.earned_xp, state.tasks), (300, 301, 3));
}

#[test]
fn a_task_that_crosses_the_allowance_counts_in_part() {
    let at = time(NOON);
    let mut stream = Stream::new();
    check(stream.complete(at, 299), 299, false, 299, at);
    check(stream.complete(at, 40), 1, false, 300, at);
    check(Stream::new().complete(at, 1_000), 300, false, 300, at);
    check(
        Stream::new().complete_ranked(at, 2_001),
        2_000,
        true,
        2_000,
        at,
    );
}

#[test]
fn ranked_raids_have_an_allowance_of_their_own() {
    let at = time(NOON);
    let later = at.plus(1_000);
    let mut stream = Stream::new();
    check(stream.complete(at, 301), 300, false, 300, at);
    check(stream.complete_ranked(later, 1_000), 1_000, true, 1_000, at);
    check(stream.complete_ranked(later, 1_000), 1_000, true, 2_000, at);
    check(stream.complete_ranked(later, 1), 0, true, 2_000, at);
    check(stream.complete(later, 1), 0, false, 300, at);
}

#[test]
fn contributions_count_in_full_and_use_no_allowance() {
    let at = time(NOON);
    let mut stream = Stream::new();
    for _ in 0..3 {
        let counted = 10_000;
        let allowance = None;
        assert_eq!(
            stream.contribute(at, 10_000),
            Counted { counted, allowance }
        );
    }
    assert_eq!(stream.fold.allowance_day, None);
    check(stream.complete(at, 300), 300, false, 300, at);
    let state = &stream.fold.state;
    assert_eq!(
        (state.xp, state.earned_xp, state.tasks),
        (30_300, 30_300, 4)
    );
}

#[test]
fn an_allowance_that_was_lowered_below_its_use_counts_nothing() {
    let at = time(NOON);
    let mut stream = Stream::new();
    stream.complete(at, 200);
    stream.definitions.casual_xp_per_day = 100;
    check(stream.complete(at, 40), 0, false, 200, at);
    stream.definitions.casual_xp_per_day = 210;
    check(stream.complete(at, 40), 10, false, 210, at);
}

#[test]
fn both_allowances_renew_at_midnight_in_the_zone_of_the_player() {
    let mut stream = Stream::with_day("Asia/Tashkent", 0);
    let first = time("2026-11-28T00:00+05:00");
    stream.complete(first, 300);
    stream.complete_ranked(first, 2_000);
    let last = time("2026-11-28T23:59:59.999+05:00");
    check(stream.complete(last, 10), 0, false, 300, first);
    let midnight = time("2026-11-29T00:00+05:00");
    check(stream.complete(midnight, 10), 10, false, 10, midnight);
    check(stream.complete_ranked(midnight, 10), 10, true, 10, midnight);
}

#[test]
fn a_ranked_task_can_begin_the_day_of_both_allowances() {
    let mut stream = Stream::new();
    stream.complete(time(NOON), 300);
    let next = time("2026-11-29T01:00Z");
    check(stream.complete_ranked(next, 10), 10, true, 10, next);
    check(stream.complete(next.plus(1), 10), 10, false, 10, next);
}

#[test]
fn a_day_begins_at_the_hour_that_the_player_chose() {
    let mut stream = Stream::with_day("Asia/Tashkent", 4);
    stream.complete(time("2026-11-28T23:00+05:00"), 300);
    assert!(!is_renewed(&mut stream, "2026-11-29T03:59:59.999+05:00"));
    assert!(is_renewed(&mut stream, "2026-11-29T04:00+05:00"));
}

#[test]
fn a_zone_to_the_east_renews_once_the_day_has_advanced_in_both() {
    let mut stream = Stream::with_day("Pacific/Pago_Pago", 0);
    stream.complete(time("2026-11-28T22:30-11:00"), 300);
    stream.set("zone", "Pacific/Kiritimati");
    assert!(
        !is_renewed(&mut stream, "2026-11-29T23:30+14:00"),
        "a date later, at once"
    );
    assert!(
        !is_renewed(&mut stream, "2026-11-30T00:30+14:00"),
        "the old day goes on"
    );
    assert!(is_renewed(&mut stream, "2026-11-29T00:00-11:00"));
}

#[test]
fn a_zone_to_the_west_renews_once_the_day_has_advanced_in_both() {
    let mut stream = Stream::with_day("Pacific/Kiritimati", 0);
    stream.complete(time("2026-11-29T23:30+14:00"), 300);
    stream.set("zone", "Pacific/Pago_Pago");
    assert!(
        !is_renewed(&mut stream, "2026-11-30T00:30+14:00"),
        "the new day goes on"
    );
    assert!(is_renewed(&mut stream, "2026-11-29T00:00-11:00"));

    let mut stream = Stream::with_day("Pacific/Kiritimati", 0);
    stream.complete(time("2026-11-30T00:30+14:00"), 300);
    stream.set("zone", "Pacific/Pago_Pago");
    assert!(
        !is_renewed(&mut stream, "2026-11-29T00:30-11:00"),
        "the old day goes on"
    );
    assert!(!is_renewed(&mut stream, "2026-11-29T22:59:59.999-11:00"));
    assert!(is_renewed(&mut stream, "2026-12-01T00:00+14:00"));
}

#[test]
fn a_later_start_of_the_day_and_back_renews_nothing() {
    let mut stream = Stream::with_day("UTC", 0);
    stream.complete(time("2026-11-28T05:00Z"), 300);
    stream.set("day_start_hour", 6);
    assert!(
        !is_renewed(&mut stream, "2026-11-28T06:00Z"),
        "only the new day"
    );
    stream.set("day_start_hour", 0);
    assert!(!is_renewed(&mut stream, "2026-11-28T23:59Z"));
    assert!(is_renewed(&mut stream, "2026-11-29T00:00Z"));
}

#[test]
fn settings_after_a_renewal_are_those_of_the_new_day() {
    let mut stream = Stream::with_day("Pacific/Kiritimati", 0);
    stream.complete(time("2026-11-29T23:30+14:00"), 300);
    stream.set("zone", "Pacific/Pago_Pago");
    let first = time("2026-11-29T00:00-11:00");
    stream.complete(first, 300);
    let day = stream.fold.allowance_day.clone().expect("a day");
    assert_eq!(
        (day.since, day.settings.zone.as_str()),
        (first, "Pacific/Pago_Pago")
    );
    assert!(!is_renewed(&mut stream, "2026-12-01T00:00+14:00"));
    assert!(is_renewed(&mut stream, "2026-11-30T00:00-11:00"));
}

#[test]
fn an_event_of_an_earlier_time_renews_nothing() {
    let mut stream = Stream::new();
    let since = time(NOON);
    stream.complete(since, 290);
    for earlier in [since.plus(-1), time("2026-11-27T12:00Z"), UnixMillis(0)] {
        check(stream.complete(earlier, 0), 0, false, 290, since);
    }
    check(
        stream.complete(time("2026-11-27T12:00Z"), 40),
        10,
        false,
        300,
        since,
    );
    assert!(!is_renewed(&mut stream, NOON));
}
