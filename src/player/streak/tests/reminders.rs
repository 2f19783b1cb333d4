//! Reminders that a streak is at risk.

use super::*;
use crate::player::{next_due, remind};

impl StreakPlayer {
    fn set(&mut self, key: &str, value: Value) {
        let set = PlayerEventData::SettingSet {
            key: key.to_owned(),
            value,
            version: 1,
            lapses_at: None,
        };
        self.append(self.fold.at, &[set]);
    }

    /// Sends the reminder that is due.
    fn remind(&mut self, now: UnixMillis) -> bool {
        let reminder = remind(&self.fold, now, now);
        let is_due = reminder.is_some();
        self.append(
            now,
            &reminder
                .map(|(_, data)| data)
                .into_iter()
                .collect::<Vec<_>>(),
        );
        is_due
    }

    /// Returns the moment of the next reminder if it comes before the end of the streak.
    fn reminder(&self, now: UnixMillis) -> Option<UnixMillis> {
        let due = next_due(&self.fold, now);
        due.filter(|due| Some(*due) != self.streak().lapses_at)
    }
}

/// Returns a player who contributed at noon of three days up to this one, in their zone.
fn player_in(zone: &str, start_hour: u8, noon: &str) -> StreakPlayer {
    let mut player = StreakPlayer::with_day(zone, start_hour);
    let last = time(noon);
    for days in [2, 1, 0] {
        player.contribute(last.plus(-days * DAY_MS));
    }
    player
}

#[test]
fn a_streak_of_three_days_is_reminded_of_on_each_missed_day() {
    assert_eq!(StreakPlayer::of_days(2).reminder(noon(2)), None);
    let mut player = StreakPlayer::of_days(7);
    let first = time("2026-11-08T20:00Z");
    assert_eq!(player.reminder(noon(7)), Some(first));
    assert!(!player.remind(first.plus(-1)));
    assert!(player.remind(first));
    let data = json!({"days": 7, "lapses_at": time("2026-11-10T00:00Z")});
    assert_eq!(player.fold.state.inbox.items[0].data, data);
    assert!(!player.remind(first.plus(1)), "once a day");
    let second = time("2026-11-09T20:00Z");
    assert_eq!(player.reminder(first), Some(second));
    assert!(player.remind(second.plus(HOUR_MS)));
    let lapses_at = player.streak().lapses_at;
    assert_eq!(next_due(&player.fold, second.plus(HOUR_MS)), lapses_at);
}

#[test]
fn a_contribution_moves_the_reminder_to_the_next_day() {
    let mut player = StreakPlayer::of_days(3);
    player.contribute(time("2026-11-04T20:01Z"));
    assert!(!player.remind(time("2026-11-04T20:02Z")));
    let next = time("2026-11-05T20:00Z");
    assert_eq!(player.reminder(noon(4)), Some(next));
}

#[test]
fn a_reminder_is_left_out_after_three_hours_and_after_the_end() {
    let late = time("2026-11-08T23:00Z");
    assert!(StreakPlayer::of_days(7).remind(late.plus(-1)));
    let mut player = StreakPlayer::of_days(7);
    assert!(!player.remind(late));
    assert_eq!(player.reminder(late), Some(time("2026-11-09T20:00Z")));
    let mut player = StreakPlayer::of_days(3);
    player.set("notify.streak_hour", json!(23));
    let lapsed_at = time("2026-11-05T00:00Z");
    assert!(player.clone().remind(lapsed_at.plus(-1)));
    assert!(!player.remind(lapsed_at));
}

#[test]
fn the_player_chooses_the_hour_of_reminders_or_none() {
    let mut player = StreakPlayer::of_days(3);
    player.set("notify.streak_hour", json!(7));
    assert_eq!(player.reminder(noon(3)), Some(time("2026-11-04T07:00Z")));
    player.set("notify.streak_at_risk", json!(false));
    assert_eq!(player.reminder(noon(3)), None);
    player.set("notify.streak_at_risk", json!(true));
    assert!(player.remind(time("2026-11-04T08:00Z")));
    player.set("notify.streak_hour", json!(9));
    assert_eq!(player.reminder(noon(4)), None, "once a day");
}

#[test]
fn a_reminder_comes_at_the_hour_of_the_zone_on_the_players_day() {
    let check = |zone, start_hour, noon, hour: u8, expected| {
        let mut player = player_in(zone, start_hour, noon);
        player.set("notify.streak_hour", json!(hour));
        assert_eq!(player.reminder(time(noon)), Some(time(expected)), "{zone}");
    };
    let noon = "2026-11-03T12:00+05:00";
    check("Asia/Tashkent", 0, noon, 20, "2026-11-04T20:00+05:00");
    // Before the hour at which the day begins, it is on the next date.
    check("Asia/Tashkent", 4, noon, 3, "2026-11-05T03:00+05:00");
    check("Asia/Tashkent", 4, noon, 4, "2026-11-04T04:00+05:00");
    // The clock jumps from 02:00 to 03:00, and back from 03:00 to 02:00.
    let noon = "2026-03-28T12:00+01:00";
    check("Europe/Berlin", 0, noon, 2, "2026-03-29T03:00+02:00");
    let noon = "2026-10-24T12:00+02:00";
    check("Europe/Berlin", 0, noon, 2, "2026-10-25T02:00+02:00");
    check("Europe/Berlin", 0, noon, 20, "2026-10-25T20:00+01:00");
}

#[test]
fn a_journey_brings_no_second_reminder_on_one_date() {
    let mut player = player_in("Asia/Tashkent", 0, "2026-11-03T12:00+05:00");
    let reminded_at = time("2026-11-04T20:02+05:00");
    assert!(player.remind(reminded_at));
    player.set_day("America/New_York", 0, reminded_at);
    let evening = time("2026-11-04T20:00-05:00");
    assert!(!player.remind(evening));
}
