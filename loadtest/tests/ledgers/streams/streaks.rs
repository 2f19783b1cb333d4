//! Violations of streaks: days that are kept, losses and repairs.

use raidhall_loadtest::judge::StreamViolationKind;
use raidhall_protocol::player::event::CoinsReason;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::{Seq, UnixMillis};

use super::forged_stream::*;
use super::sample_stream::*;

const HOUR_MS: i64 = 3_600_000;
/// When the streak of Ben's stream lapses.
const LAPSES_AT: UnixMillis = UnixMillis(1_767_225_600_000 + 48 * HOUR_MS);

fn push(stream: &mut Vec<PlayerEvent>, at: UnixMillis, data: PlayerEventData) {
    stream.push(PlayerEvent {
        seq: Seq(stream.len() as u64 + 1),
        at,
        cause: None,
        data,
    });
}

fn lost(days: u64) -> PlayerEventData {
    PlayerEventData::StreakLost {
        days,
        repairable_days: days,
        repairable_from: Some(LAPSES_AT),
        repairable_until: Some(LAPSES_AT.plus(48 * HOUR_MS)),
    }
}

/// Adds a repair an hour after the loss.
fn repair(stream: &mut Vec<PlayerEvent>, lapses_at: UnixMillis) {
    let at = LAPSES_AT.plus(HOUR_MS);
    push(stream, LAPSES_AT, lost(1));
    push(stream, at, coins_moved(-100, CoinsReason::Repair, 58));
    let repaired = PlayerEventData::StreakRepaired {
        days: 1,
        best: 1,
        freezes: 0,
        cost: 100,
        since: Some(LAPSES_AT.plus(-1)),
        lapses_at,
    };
    push(stream, at, repaired);
}

#[test]
fn a_kept_day_that_its_contribution_does_not_give_is_a_violation() {
    type Forge = fn(&mut u64, &mut UnixMillis, &mut String);
    let forgeries: [Forge; 3] = [
        |days, _, _| *days = 2,
        |_, lapses_at, _| *lapses_at = LAPSES_AT.plus(1),
        |_, _, day| *day = "2026-01-02".to_owned(),
    ];
    for forge in forgeries {
        assert_wrong(4, |data| match data {
            PlayerEventData::DayKept {
                days,
                lapses_at,
                day,
                ..
            } => forge(days, lapses_at, day),
            data => panic!("{} keeps no day", data.kind()),
        });
    }
}

#[test]
fn a_kept_day_that_is_missing_or_comes_twice_is_a_violation() {
    let found = find_in_stream(|stream| {
        stream.remove(at(4));
        renumber(stream);
    });
    assert!(
        matches!(
            found[0],
            StreamViolationKind::FollowUpMissing { seq: Seq(3), .. }
        ),
        "{found:?}"
    );
    assert_found(&unexpected(5, "day_kept"), |stream| {
        stream.insert(at(5), stream[at(4)].clone());
        renumber(stream);
    });
}

#[test]
fn a_streak_is_lost_once_it_has_lapsed() {
    let found = find_in_stream(|stream| push(stream, LAPSES_AT, lost(1)));
    assert_eq!(found, []);
    let early = StreamViolationKind::StreakLostEarly { seq: Seq(END + 1) };
    let found = find_in_stream(|stream| push(stream, LAPSES_AT.plus(-1), lost(1)));
    assert_eq!(found, [early]);
    assert_wrong_at_end(|stream| push(stream, LAPSES_AT, lost(2)));
}

#[test]
fn a_repaired_streak_goes_on_with_the_day_of_the_repair() {
    let lapses_at = LAPSES_AT.plus(24 * HOUR_MS);
    assert_eq!(find_in_stream(|stream| repair(stream, lapses_at)), []);
    assert_wrong_at_end(|stream| repair(stream, lapses_at.plus(24 * HOUR_MS)));
}

#[test]
fn a_setting_of_the_day_says_when_the_streak_lapses() {
    let set = |lapses_at| PlayerEventData::SettingSet {
        key: "zone".to_owned(),
        value: "Etc/GMT+3".into(),
        version: 1,
        lapses_at,
    };
    let at = LAPSES_AT.plus(-24 * HOUR_MS);
    // It is still the day before there.
    let found = find_in_stream(|stream| push(stream, at, set(Some(LAPSES_AT))));
    assert_eq!(found, []);
    assert_wrong_at_end(|stream| push(stream, at, set(None)));
}

/// Asserts that the only violation of a forged stream is that its last event is wrong.
#[track_caller]
fn assert_wrong_at_end(forge: impl FnOnce(&mut Vec<PlayerEvent>)) {
    let mut end = 0;
    let found = find_in_stream(|stream| {
        forge(stream);
        end = stream.len() as u64;
    });
    assert!(
        matches!(found[..], [StreamViolationKind::EffectWrong { seq: Seq(wrong), .. }] if wrong == end),
        "{found:?}"
    );
}
