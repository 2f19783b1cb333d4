//! What raids do for streaks, and in which order.

use raidhall_protocol::state::Role;

use super::*;

const HOUR_MS: i64 = 3_600_000;

fn stream() -> Stream {
    Stream {
        definitions: Definitions::plain_with_streaks(),
        ..Stream::new()
    }
}

fn noon(day: i64) -> UnixMillis {
    time("2026-10-31T12:00Z").plus(day * 24 * HOUR_MS)
}

/// Returns the types of the effects.
fn add(stream: &mut Stream, at: UnixMillis, kind: CauseKind) -> Vec<&'static str> {
    let effects = stream.add(7, at, kind);
    effects.iter().map(PlayerEventData::kind).collect()
}

fn contribution() -> CauseKind {
    let kind = "habit".to_owned();
    CauseKind::Contributed { xp: 25, kind }
}

fn task(xp: u64) -> CauseKind {
    let is_ranked = false;
    CauseKind::TaskCompleted { xp, is_ranked }
}

#[test]
fn a_loss_comes_before_the_xp_and_the_kept_day_behind_it() {
    let mut stream = stream();
    let kept = ["xp_earned", "day_kept"];
    assert_eq!(add(&mut stream, noon(1), contribution()), kept);
    assert_eq!(add(&mut stream, noon(1), contribution()), ["xp_earned"]);
    assert_eq!(add(&mut stream, noon(2), task(25)), kept);
    assert_eq!(
        add(&mut stream, noon(9), contribution()),
        ["streak_lost", "xp_earned", "day_kept"]
    );
    let streak = &stream.fold.state.streak;
    assert_eq!((streak.days, streak.best), (1, 2));
}

#[test]
fn a_frozen_day_and_a_kept_one_come_before_levels() {
    let mut stream = stream();
    for day in 1..=7 {
        add(&mut stream, noon(day), contribution());
    }
    stream.definitions.levels = crate::definitions::LevelCurve::new(50);
    assert_eq!(
        add(&mut stream, noon(9), contribution()),
        ["xp_earned", "streak_frozen", "day_kept", "level_reached"]
    );
}

#[test]
fn a_task_that_counts_nothing_keeps_no_day() {
    let mut stream = stream();
    stream.definitions.casual_xp_per_day = 0;
    assert_eq!(add(&mut stream, noon(1), task(300)), ["xp_earned"]);
    stream.definitions.casual_xp_per_day = 300;
    let kept = ["xp_earned", "day_kept"];
    assert_eq!(add(&mut stream, noon(1), task(300)), kept);
}

/// A contribution to another raid from before the lapse may be committed a little later.
#[test]
fn other_causes_lose_a_streak_when_no_contribution_is_on_its_way() {
    let mut stream = stream();
    add(&mut stream, noon(1), contribution());
    let lapses_at = time("2026-11-03T00:00Z");
    let joined = || CauseKind::HasRole(Role::Member);
    let at = lapses_at.plus(124_999);
    assert_eq!(add(&mut stream, at, joined()), ["raid_joined"]);
    let late = lapses_at.plus(-1);
    let mut kept = Stream {
        fold: stream.fold.clone(),
        definitions: stream.definitions.clone(),
    };
    assert_eq!(
        add(&mut kept, late, contribution()),
        ["xp_earned", "day_kept"]
    );
    assert_eq!(kept.fold.state.streak.days, 2);
    let lost = ["streak_lost", "raid_joined"];
    assert_eq!(add(&mut stream, at.plus(1), joined()), lost);
}

#[test]
fn without_rules_there_is_no_streak() {
    let mut stream = Stream::new();
    assert_eq!(add(&mut stream, noon(1), contribution()), ["xp_earned"]);
    assert_eq!(stream.fold.state.streak.days, 0);
}
