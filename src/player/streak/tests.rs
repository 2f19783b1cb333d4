//! Streaks: what keeps them, what ends them, and what repairs them.

mod late;
mod random;
mod reminders;
mod repair;

use jiff::Timestamp;
use raidhall_protocol::player::PlayerEvent;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{PlayerId, RaidId};
use serde_json::{Value, json};

use super::*;
use crate::definitions::Definitions;
use crate::player::{Author, check, decide};
use crate::progression::{Cause, CauseKind, DefinitionsNumber, project};

/// Parses a time with its offset, such as `2026-11-28T23:30+05:00`.
fn time(text: &str) -> UnixMillis {
    let at: Timestamp = text.parse().expect("a time with an offset");
    UnixMillis(at.as_millisecond())
}

/// Returns noon UTC of a day of November 2026, or of a later month beyond the 30th.
fn noon(day: i64) -> UnixMillis {
    time("2026-10-31T12:00Z").plus(day * DAY_MS)
}

/// A player whose contributions and commands are added to their stream.
#[derive(Clone)]
struct StreakPlayer {
    fold: PlayerFold,
    definitions: Definitions,
}

impl StreakPlayer {
    fn new() -> StreakPlayer {
        let id = PlayerId::try_from(5_u64).expect("an id");
        StreakPlayer {
            fold: PlayerFold::new(id, "Ada".to_owned()),
            definitions: Definitions::plain_with_streaks(),
        }
    }

    fn with_day(zone: &str, start_hour: u8) -> StreakPlayer {
        let mut player = StreakPlayer::new();
        player.set_day(zone, start_hour, UnixMillis(0));
        player
    }

    /// Returns a player who kept this many days of November, from the first one.
    fn of_days(days: i64) -> StreakPlayer {
        let mut player = StreakPlayer::new();
        for day in 1..=days {
            player.contribute(noon(day));
        }
        player
    }

    fn rules(&self) -> StreakRules {
        self.definitions.streaks.expect("rules")
    }

    fn streak(&self) -> &Streak {
        &self.fold.state.streak
    }

    /// Adds a contribution as the projector does. Returns the types of the events of the streak.
    fn contribute(&mut self, at: UnixMillis) -> Vec<&'static str> {
        let kind = "habit".to_owned();
        let cause = Cause {
            place: RaidPlace {
                raid: RaidId::try_from(7_u64).expect("an id"),
                seq: self.fold.seq.next(),
            },
            at,
            definitions: DefinitionsNumber::FIRST,
            kind: CauseKind::Contributed { xp: 25, kind },
        };
        let events = project(&self.fold, &cause, &self.definitions);
        self.append_with(at, Some(cause.place), &events);
        let kinds = events.iter().map(PlayerEventData::kind);
        kinds.filter(|kind| *kind != "xp_earned").collect()
    }

    fn lose(&mut self, at: UnixMillis) {
        let lost = lapse_streak(&self.fold, at, at, &self.rules()).expect("a loss");
        self.append(at, &[lost]);
    }

    fn append(&mut self, at: UnixMillis, events: &[PlayerEventData]) {
        self.append_with(at, None, events);
    }

    fn append_with(
        &mut self,
        at: UnixMillis,
        cause: Option<RaidPlace>,
        events: &[PlayerEventData],
    ) {
        for data in events {
            self.fold.apply(&PlayerEvent {
                seq: self.fold.seq.next(),
                at: at.max(self.fold.at),
                cause,
                data: data.clone(),
            });
        }
    }

    fn execute(&mut self, at: UnixMillis, author: Author, command: Value) -> Result<(), Error> {
        let command = serde_json::from_value(command).expect("a command");
        let command = check(author, &command)?;
        let events = decide(&self.fold, &command, &self.definitions, at)?;
        self.append(at, &events);
        Ok(())
    }

    fn repair(&mut self, at: UnixMillis) -> Result<(), Error> {
        self.execute(at, Author::Player, json!({"type": "repair_streak"}))
    }

    fn grant_coins(&mut self, amount: i64) {
        let grant = json!({"type": "grant_coins", "amount": amount, "note": "goodwill"});
        let at = self.fold.at;
        self.execute(at, Author::Service, grant).expect("a grant");
    }

    /// Sets what decides the day, without the limit on how often.
    fn set_day(&mut self, zone: &str, start_hour: u8, at: UnixMillis) {
        for (key, value) in [("zone", json!(zone)), ("day_start_hour", json!(start_hour))] {
            let settings = self.fold.day_settings().with(key, &value);
            let set = PlayerEventData::SettingSet {
                key: key.to_owned(),
                value,
                version: 1,
                lapses_at: lapses_at_with(&self.fold, &settings, at),
            };
            self.append(at, &[set]);
        }
    }
}

#[test]
fn the_first_contribution_of_each_day_adds_a_day() {
    let mut player = StreakPlayer::new();
    assert_eq!(player.streak(), &Streak::default());
    assert_eq!(player.contribute(noon(1)), ["day_kept"]);
    assert_eq!(player.contribute(noon(1).plus(HOUR_MS)), [""; 0]);
    assert_eq!(player.contribute(noon(2)), ["day_kept"]);
    let expected = Streak {
        days: 2,
        best: 2,
        day: Some("2026-11-02".to_owned()),
        lapses_at: Some(time("2026-11-04T00:00Z")),
        ..Streak::default()
    };
    assert_eq!(player.streak(), &expected);
}

#[test]
fn a_missed_day_without_freezes_ends_the_streak() {
    let mut player = StreakPlayer::of_days(3);
    let last = time("2026-11-04T23:59:59.999Z");
    assert_eq!(player.clone().contribute(last), ["day_kept"]);
    assert_eq!(player.contribute(last.plus(1)), ["streak_lost", "day_kept"]);
    let streak = player.streak();
    assert_eq!((streak.days, streak.best), (1, 3));
    assert_eq!(streak.repairable_until, Some(time("2026-11-07T00:00Z")));
}

#[test]
fn seven_kept_days_earn_a_freeze_and_two_are_the_most() {
    let freezes = |days| StreakPlayer::of_days(days).streak().freezes;
    assert_eq!([6, 7, 13, 14, 21, 28].map(freezes), [0, 1, 1, 2, 2, 2]);
}

#[test]
fn each_day_earns_a_freeze_if_one_day_is_enough() {
    let mut player = StreakPlayer::new();
    player.definitions.streaks = player.definitions.streaks.map(|rules| StreakRules {
        days_per_freeze: 1,
        ..rules
    });
    player.contribute(noon(1));
    assert_eq!(player.streak().freezes, 1);
    player.contribute(noon(2));
    assert_eq!(player.streak().freezes, 2);
}

#[test]
fn missed_days_take_a_freeze_each() {
    let mut player = StreakPlayer::of_days(14);
    assert_eq!(player.streak().lapses_at, Some(time("2026-11-18T00:00Z")));
    assert_eq!(player.contribute(noon(16)), ["streak_frozen", "day_kept"]);
    let streak = player.streak();
    assert_eq!((streak.days, streak.freezes), (15, 1));
    assert_eq!(player.contribute(noon(18)), ["streak_frozen", "day_kept"]);
    assert_eq!(player.streak().freezes, 0);
    assert_eq!(player.contribute(noon(20)), ["streak_lost", "day_kept"]);
}

#[test]
fn a_lost_streak_leaves_all_freezes() {
    let mut player = StreakPlayer::of_days(7);
    assert_eq!(player.contribute(noon(10)), ["streak_lost", "day_kept"]);
    let streak = player.streak();
    assert_eq!((streak.days, streak.freezes), (1, 1));
    assert_eq!(streak.lapses_at, Some(time("2026-11-13T00:00Z")));
}

#[test]
fn a_frozen_day_can_complete_the_days_of_the_next_freeze() {
    let mut player = StreakPlayer::of_days(13);
    player.contribute(noon(15));
    let streak = player.streak();
    assert_eq!(
        (streak.days, streak.freezes),
        (14, 1),
        "one taken, one earned"
    );
}

/// 24 hours after 00:30 on the 29th in Kiritimati it is 23:30 on the 28th in Pago Pago.
#[test]
fn a_day_that_comes_twice_on_a_journey_is_not_missed() {
    let mut player = StreakPlayer::with_day("Pacific/Kiritimati", 0);
    let kept = time("2026-11-29T00:30+14:00");
    player.contribute(kept);
    player.set_day("Pacific/Pago_Pago", 0, kept.plus(HOUR_MS));
    assert_eq!(player.contribute(kept.plus(DAY_MS)), ["day_kept"]);
    let streak = player.streak();
    assert_eq!(
        (streak.days, streak.day.as_deref()),
        (2, Some("2026-11-28"))
    );
}

/// A contribution that adds no day still gives the streak the time of its date in the new zone.
#[test]
fn a_contribution_on_each_date_of_a_journey_keeps_the_streak() {
    let mut player = StreakPlayer::with_day("Pacific/Kiritimati", 0);
    let kept = time("2026-11-29T00:30+14:00");
    player.contribute(kept);
    player.set_day("Pacific/Pago_Pago", 0, kept.plus(20 * HOUR_MS));
    assert_eq!(player.contribute(kept.plus(23 * HOUR_MS)), ["day_kept"]);
    assert_eq!(player.streak().days, 1);
    let next = kept.plus(47 * HOUR_MS + HOUR_MS / 2);
    assert_eq!(player.contribute(next), ["day_kept"]);
    assert_eq!(player.streak().days, 2);
}

#[test]
fn a_change_of_zone_adds_no_day_and_never_shortens_one() {
    let mut player = StreakPlayer::new();
    player.contribute(noon(1));
    player.set_day("Pacific/Kiritimati", 0, noon(1));
    let longer = Some(time("2026-11-04T00:00+14:00"));
    assert_eq!(player.streak().lapses_at, longer);
    player.contribute(noon(1).plus(HOUR_MS));
    assert_eq!(player.streak().days, 1);
    player.set_day("Pacific/Pago_Pago", 0, noon(1).plus(2 * HOUR_MS));
    let longest = Some(time("2026-11-03T00:00-11:00"));
    assert_eq!(player.streak().lapses_at, longest);
    player.set_day("UTC", 0, noon(1).plus(3 * HOUR_MS));
    assert_eq!(player.streak().lapses_at, longest);
}

#[test]
fn a_change_of_zone_does_not_bring_a_lapsed_streak_back() {
    let mut player = StreakPlayer::of_days(3);
    let lapsed_at = time("2026-11-05T00:00Z");
    player.set_day("Pacific/Pago_Pago", 0, lapsed_at);
    assert_eq!(player.streak().lapses_at, Some(lapsed_at));
    assert_eq!(player.contribute(lapsed_at), ["streak_lost", "day_kept"]);
}

#[test]
fn only_a_setting_of_the_day_says_when_the_streak_lapses() {
    let mut player = StreakPlayer::of_days(1);
    let mut lapses_at = |key: &str, value: Value| {
        let command = json!({"type": "set_setting", "key": key, "value": value});
        let command = serde_json::from_value(command).expect("a command");
        let events = decide(&player.fold, &command, &player.definitions, noon(1));
        let events = events.expect("a setting");
        player.append(noon(1), &events);
        match events[..] {
            [PlayerEventData::SettingSet { lapses_at, .. }] => lapses_at,
            _ => panic!("{events:?}"),
        }
    };
    assert_eq!(lapses_at("theme", json!("dark")), None);
    let later = time("2026-11-03T04:00Z");
    assert_eq!(lapses_at("day_start_hour", json!(4)), Some(later));
}

#[test]
fn a_contribution_from_before_the_latest_day_adds_nothing() {
    let mut player = StreakPlayer::of_days(2);
    let before = player.streak().clone();
    assert_eq!(player.contribute(noon(1).plus(HOUR_MS)), [""; 0]);
    assert_eq!(player.streak(), &before);
}

/// The history of a raid can be projected long after it happened, behind newer events of the stream.
#[test]
fn a_contribution_counts_from_its_own_time_however_late_it_is_projected() {
    let mut player = StreakPlayer::of_days(7);
    player.fold.at = noon(60);
    player.contribute(noon(7).plus(HOUR_MS));
    assert_eq!(player.contribute(noon(10)), ["streak_lost", "day_kept"]);
    assert_eq!(player.contribute(noon(12)), ["streak_frozen", "day_kept"]);
}
