//! Contributions that come after the loss that they would have prevented.

use super::*;

/// Returns the player after these contributions, the way they are projected.
fn contributed(player: &StreakPlayer, times: &[UnixMillis]) -> StreakPlayer {
    let mut player = player.clone();
    for at in times {
        player.contribute(*at);
    }
    player
}

/// Asserts that the order of two contributions makes no difference to the streak.
#[track_caller]
fn assert_same_in_any_order(player: &StreakPlayer, earlier: UnixMillis, later: &[UnixMillis]) {
    let in_order = [&[earlier], later].concat();
    let inverted = [later, &[earlier]].concat();
    let expected = contributed(player, &in_order);
    let found = contributed(player, &inverted);
    assert_eq!(found.streak(), expected.streak());
    let next = later.last().expect("a contribution").plus(DAY_MS);
    let expected = contributed(&expected, &[next]);
    assert_eq!(contributed(&found, &[next]).streak(), expected.streak());
}

#[test]
fn a_late_contribution_brings_a_lost_streak_back() {
    let mut player = StreakPlayer::of_days(3);
    player.grant_coins(10);
    let lapses_at = time("2026-11-05T00:00Z");
    let kept = ["streak_lost", "day_kept"];
    assert_eq!(player.contribute(lapses_at.plus(5)), kept);
    assert_eq!(player.contribute(lapses_at.plus(-5)), ["streak_repaired"]);
    let streak = player.streak();
    assert_eq!((streak.days, streak.best, streak.freezes), (5, 5, 0));
    assert_eq!(streak.lapses_at, Some(time("2026-11-07T00:00Z")));
    assert_eq!((streak.repairable_days, streak.repairable_until), (0, None));
    assert_eq!(player.fold.state.coins, 10, "it is free");
    assert_eq!(player.contribute(lapses_at.plus(-4)), [""; 0]);
}

#[test]
fn a_streak_that_was_brought_back_can_still_be_repaired_later() {
    let mut player = StreakPlayer::of_days(3);
    player.grant_coins(100);
    let lapses_at = time("2026-11-05T00:00Z");
    player.contribute(lapses_at.plus(5));
    player.contribute(lapses_at.plus(-5));
    player.contribute(noon(7));
    player.repair(noon(7)).expect("a repair");
    assert_eq!(player.streak().days, 6);
}

#[test]
fn a_lost_streak_without_a_next_one_comes_back_with_the_late_day() {
    let mut player = StreakPlayer::of_days(3);
    player.lose(noon(5));
    let events = player.contribute(noon(4));
    assert_eq!(events, ["streak_repaired", "day_kept"]);
    let streak = player.streak();
    assert_eq!(
        (streak.days, streak.day.as_deref()),
        (4, Some("2026-11-04"))
    );
    assert_eq!(streak.lapses_at, Some(time("2026-11-06T00:00Z")));
    assert_eq!(player.contribute(noon(5)), ["day_kept"]);
}

#[test]
fn a_late_contribution_to_a_day_that_was_kept_changes_nothing() {
    let mut player = StreakPlayer::of_days(3);
    player.contribute(noon(5));
    assert_eq!(player.contribute(noon(3).plus(HOUR_MS)), [""; 0]);
    let mut lost = StreakPlayer::of_days(3);
    lost.lose(noon(5));
    assert_eq!(lost.contribute(noon(3).plus(HOUR_MS)), [""; 0]);
    assert_eq!(lost.streak().days, 0);
}

#[test]
fn a_streak_that_would_be_lost_all_the_same_stays_lost() {
    let mut player = StreakPlayer::of_days(3);
    player.contribute(noon(6));
    let before = player.streak().clone();
    assert_eq!(player.contribute(noon(4)), [""; 0]);
    assert_eq!(player.streak(), &before);
}

#[test]
fn the_order_of_projection_makes_no_difference_to_days_and_freezes() {
    for days in [3, 5, 6, 7, 13] {
        let player = StreakPlayer::of_days(days);
        let freezes = player.streak().freezes.cast_signed();
        let late = noon(days + 1 + freezes);
        let next = noon(days + 2 + freezes);
        assert_same_in_any_order(&player, late, &[next]);
        let more = [next, next.plus(DAY_MS), next.plus(2 * DAY_MS)];
        assert_same_in_any_order(&player, late, &more);
        let all: Vec<_> = (0..9).map(|day| next.plus(day * DAY_MS)).collect();
        assert_same_in_any_order(&player, late, &all);
    }
}
