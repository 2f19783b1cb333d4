//! Repairs of lost streaks.

use super::*;
use crate::raid::Refusal;

impl StreakPlayer {
    fn correct(&mut self, at: UnixMillis, amount: i64) -> Result<(), Error> {
        let note = "Ticket 81";
        let command = json!({"type": "correct", "field": "streak", "amount": amount, "note": note});
        self.execute(at, Author::Operator, command)
    }
}

const NO_LOST_STREAK: Error = Error::WrongStatus("There is no lost streak to repair");

#[test]
fn a_repaired_streak_goes_on_with_the_day_of_the_repair() {
    let mut player = StreakPlayer::of_days(3);
    player.grant_coins(150);
    let lost_at = time("2026-11-05T00:00Z");
    player.lose(lost_at);
    player
        .repair(lost_at.plus(48 * HOUR_MS - 1))
        .expect("a repair");
    let streak = player.streak();
    assert_eq!((streak.days, streak.best), (3, 3));
    assert_eq!(streak.lapses_at, Some(time("2026-11-07T00:00Z")));
    assert_eq!(streak.repairable_until, None);
    assert_eq!(player.fold.state.coins, 50);
    assert_eq!(
        player.contribute(time("2026-11-06T23:59:59.999Z")),
        ["day_kept"]
    );
    assert_eq!(player.streak().days, 4);
}

#[test]
fn a_repair_includes_the_days_kept_since() {
    let mut player = StreakPlayer::of_days(3);
    player.grant_coins(100);
    player.contribute(noon(5));
    player.repair(noon(6)).expect("a repair");
    let streak = player.streak();
    assert_eq!((streak.days, streak.best), (4, 4));
    assert_eq!(streak.lapses_at, Some(time("2026-11-07T00:00Z")));
    player.contribute(noon(6));
    assert_eq!(player.streak().days, 5);
}

#[test]
fn a_streak_is_repaired_in_time_and_for_coins() {
    let mut player = StreakPlayer::of_days(3);
    assert_eq!(player.repair(noon(3)), Err(NO_LOST_STREAK));
    let lost_at = time("2026-11-05T00:00Z");
    player.lose(lost_at);
    assert_eq!(player.repair(lost_at), Err(Error::NotEnoughCoins));
    player.grant_coins(100);
    let too_late = lost_at.plus(48 * HOUR_MS);
    assert_eq!(player.repair(too_late), Err(NO_LOST_STREAK));
    player.repair(too_late.plus(-1)).expect("a repair");
    assert_eq!(player.repair(too_late.plus(-1)), Err(NO_LOST_STREAK));
}

#[test]
fn a_streak_is_repaired_once_in_thirty_days() {
    let mut player = StreakPlayer::of_days(3);
    player.grant_coins(1_000);
    player.contribute(noon(5));
    player.repair(noon(5)).expect("a repair");
    player.contribute(noon(8));
    assert_eq!(player.streak().repairable_until, None);
    assert_eq!(player.repair(noon(8)), Err(NO_LOST_STREAK));
    player.contribute(noon(33));
    assert_eq!(player.streak().repairable_until, None, "too long ago");
    player.contribute(noon(35));
    let streak = player.streak();
    let until = time("2026-12-07T00:00Z");
    assert_eq!(streak.repairable_from, Some(noon(35)));
    assert_eq!(streak.repairable_until, Some(until));
    let pause = Err(Error::WrongStatus("A streak was repaired not long ago"));
    assert_eq!(player.repair(noon(35).plus(-1)), pause);
    player.repair(noon(35)).expect("a repair");
    let streak = player.streak();
    assert_eq!((streak.repairable_days, streak.repairable_from), (0, None));
}

#[test]
fn nothing_is_repaired_while_the_present_streak_has_lapsed_too() {
    let mut player = StreakPlayer::of_days(3);
    player.grant_coins(100);
    player.contribute(noon(5));
    // The loss of the second streak is not in the stream yet.
    player.fold.state.streak.repairable_until = Some(noon(9));
    let lapses_at = time("2026-11-07T00:00Z");
    let lapsed = Err(Error::WrongStatus("The present streak has lapsed, too"));
    assert_eq!(player.repair(lapses_at), lapsed);
    assert_eq!(player.fold.state.coins, 100);
    player.repair(lapses_at.plus(-1)).expect("a repair");
}

#[test]
fn the_longer_one_of_two_lost_streaks_stays_repairable() {
    let mut player = StreakPlayer::of_days(5);
    player.definitions.streaks = player.definitions.streaks.map(|rules| StreakRules {
        repair_hours: 120,
        ..rules
    });
    player.grant_coins(100);
    player.contribute(noon(7));
    assert_eq!(player.contribute(noon(9)), ["streak_lost", "day_kept"]);
    let streak = player.streak();
    assert_eq!(streak.repairable_days, 5);
    assert_eq!(streak.repairable_until, Some(time("2026-11-12T00:00Z")));
    let mut shorter = player.clone();
    shorter.contribute(noon(12));
    assert_eq!(shorter.streak().repairable_days, 1, "it is too late for 5");
    player.repair(noon(9)).expect("a repair");
    assert_eq!(player.streak().days, 6);
}

#[test]
fn without_rules_no_streak_is_repaired() {
    let mut player = StreakPlayer::of_days(3);
    player.grant_coins(100);
    player.lose(time("2026-11-05T00:00Z"));
    player.definitions.streaks = None;
    assert_eq!(player.repair(noon(5)), Err(NO_LOST_STREAK));
}

#[test]
fn a_correction_changes_the_days_of_a_streak_and_not_its_end() {
    let mut player = StreakPlayer::of_days(3);
    let lapses_at = player.streak().lapses_at;
    player.correct(noon(3), 7).expect("a correction");
    let streak = player.streak();
    assert_eq!((streak.days, streak.best), (10, 10));
    assert_eq!(streak.lapses_at, lapses_at);
    player.correct(noon(3), -9).expect("a correction");
    let streak = player.streak();
    assert_eq!((streak.days, streak.best), (1, 10));
    player.contribute(noon(4));
    assert_eq!(player.streak().days, 2);
}

#[test]
fn a_correction_brings_a_lost_streak_back_until_the_end_of_its_day() {
    let mut player = StreakPlayer::of_days(3);
    player.lose(noon(5));
    player.correct(noon(20), 30).expect("a correction");
    let streak = player.streak();
    assert_eq!((streak.days, streak.best), (30, 30));
    assert_eq!(streak.lapses_at, Some(time("2026-11-21T00:00Z")));
    assert_eq!(streak.repairable_until, None);
    assert_eq!(player.contribute(noon(20)), ["day_kept"]);
    assert_eq!(player.streak().days, 31);
}

#[test]
fn a_correction_does_not_postpone_the_players_own_repair() {
    let mut player = StreakPlayer::new();
    player.grant_coins(100);
    player.correct(noon(1), 5).expect("a correction");
    let lapsed_at = time("2026-11-02T00:00Z");
    player.lose(lapsed_at);
    player.repair(lapsed_at).expect("a repair");
}

#[test]
fn a_correction_of_the_next_streak_makes_up_for_the_lost_one() {
    let mut player = StreakPlayer::of_days(3);
    player.grant_coins(100);
    let lapses_at = time("2026-11-05T00:00Z");
    player.contribute(lapses_at.plus(5));
    assert_eq!(player.streak().repairable_days, 3);
    player.correct(lapses_at.plus(6), 3).expect("a correction");
    assert_eq!(player.streak().days, 4);
    assert_eq!(player.repair(lapses_at.plus(7)), Err(NO_LOST_STREAK));
    assert_eq!(player.contribute(lapses_at.plus(-5)), [""; 0]);
    assert_eq!(player.streak().days, 4);
    assert_eq!(player.streak().best, 4);
}

#[test]
fn a_correction_that_leaves_no_day_or_comes_after_the_end_is_refused() {
    let mut player = StreakPlayer::new();
    for amount in [-1, -3] {
        let refused = player.correct(noon(1), amount);
        assert!(
            matches!(refused, Err(Error::Refused(Refusal::Invalid(_)))),
            "{refused:?}"
        );
    }
    let mut player = StreakPlayer::of_days(3);
    let refused = player.correct(noon(3), -3);
    assert!(
        matches!(refused, Err(Error::Refused(Refusal::Invalid(_)))),
        "{refused:?}"
    );
    let lapsed = Error::WrongStatus("The streak has lapsed and is not lost yet");
    let lapses_at = player.streak().lapses_at.expect("a streak");
    assert_eq!(player.correct(lapses_at, 1), Err(lapsed));
}
