//! Random journeys through all time zones: no day with a contribution is lost, none counts twice.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jiff::tz::TimeZoneDatabase;
use proptest::prelude::*;

use super::*;

static ZONES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let all = TimeZoneDatabase::bundled();
    all.available()
        .map(|name| name.as_str().to_owned())
        .collect()
});

/// The first and the last moment at which journeys begin: the two years of clock changes.
const YEARS: std::ops::Range<i64> = 1_767_225_600_000..1_830_297_600_000;

/// A contribution, and what the player changes before it.
#[derive(Debug, Clone)]
struct TravelStep {
    elapsed_ms: i64,
    /// The zone and start hour that the player sets halfway.
    change: Option<(String, u8)>,
}

fn settings() -> impl Strategy<Value = (String, u8)> {
    (0..ZONES.len(), 0..=6_u8).prop_map(|(zone, start_hour)| (ZONES[zone].clone(), start_hour))
}

fn changes(weight: f64) -> impl Strategy<Value = Option<(String, u8)>> {
    prop::option::weighted(weight, settings())
}

fn steps(
    hours_max: i64,
    changes: impl Strategy<Value = Option<(String, u8)>>,
) -> impl Strategy<Value = Vec<TravelStep>> {
    let step = (0..hours_max * HOUR_MS, changes);
    let step = step.prop_map(|(elapsed_ms, change)| TravelStep { elapsed_ms, change });
    prop::collection::vec(step, 1..20)
}

/// A player on the way, with their latest contribution.
struct Journey {
    player: StreakPlayer,
    at: UnixMillis,
    latest: DayMoment,
}

impl Journey {
    fn new((zone, start_hour): &(String, u8), start: i64) -> Journey {
        let mut player = StreakPlayer::with_day(zone, *start_hour);
        let at = UnixMillis(start);
        player.contribute(at);
        let settings = player.fold.day_settings();
        Journey {
            player,
            at,
            latest: DayMoment { at, settings },
        }
    }

    /// Returns the events of the streak, and how many dates passed since the contribution before;
    /// `None` if the streak had lapsed before the change.
    fn take(&mut self, step: &TravelStep) -> (Vec<&'static str>, Option<i64>) {
        let halfway = self.at.plus(step.elapsed_ms / 2);
        let lapses_at = self.player.streak().lapses_at;
        let is_alive = step.change.is_none() || lapses_at.is_some_and(|at| halfway < at);
        if let Some((zone, start_hour)) = &step.change {
            self.player.set_day(zone, *start_hour, halfway);
        }
        self.at = self.at.plus(step.elapsed_ms);
        let settings = self.player.fold.day_settings();
        let now = DayMoment {
            at: self.at,
            settings,
        };
        let dates = |settings: &DaySettings| {
            let [then, now] = [self.latest.at, now.at].map(|at| settings.day_of(at));
            now.duration_since(then).as_hours() / 24
        };
        let gap = dates(&self.latest.settings).min(dates(&now.settings));
        self.latest = now;
        let events = self.player.contribute(self.at);
        (events, is_alive.then_some(gap))
    }
}

proptest! {
    #[test]
    fn a_contribution_on_each_date_never_loses_the_streak(
        first in settings(),
        start in YEARS,
        steps in steps(50, changes(0.3)),
    ) {
        let mut journey = Journey::new(&first, start);
        for step in &steps {
            let days = journey.player.streak().days;
            let (events, gap) = journey.take(step);
            if gap.is_some_and(|gap| gap <= 1) {
                prop_assert!(!events.contains(&"streak_lost"), "{step:?}: {events:?}");
                prop_assert!(!events.contains(&"streak_frozen"), "{step:?}: {events:?}");
                prop_assert!(journey.player.streak().days >= days);
            }
        }
    }

    /// A whole day of the zone in force lies between every other day that counts.
    #[test]
    fn no_day_counts_twice_on_a_journey(
        first in settings(),
        start in YEARS,
        steps in steps(30, changes(0.5)),
    ) {
        let mut journey = Journey::new(&first, start);
        let mut counted = vec![journey.at];
        for step in &steps {
            let days = journey.player.streak().days;
            let (events, _) = journey.take(step);
            let now = journey.player.streak().days;
            if events.contains(&"streak_lost") {
                prop_assert_eq!(now, 1);
                counted.clear();
            } else {
                prop_assert!(now - days <= 1);
            }
            if now != days || counted.is_empty() {
                counted.push(journey.at);
            }
            if let [.., first, _, third] = counted[..] {
                prop_assert!(third.since(first) >= 22 * HOUR_MS);
            }
        }
    }

    #[test]
    fn in_one_zone_each_date_with_a_contribution_counts_once(
        first in settings(),
        start in YEARS,
        steps in steps(24, Just(None)),
    ) {
        let mut journey = Journey::new(&first, start);
        let settings = journey.latest.settings.clone();
        let mut dates = BTreeSet::from([settings.day_of(journey.at)]);
        for step in &steps {
            // Where the clock goes back beyond the begin of the day, a day comes back.
            let is_back = settings.day_of(journey.at.plus(step.elapsed_ms)) < *dates.last().expect("a date");
            prop_assume!(!is_back);
            journey.take(step);
            dates.insert(settings.day_of(journey.at));
            prop_assert_eq!(journey.player.streak().days, dates.len() as u64);
        }
    }

    #[test]
    fn just_before_a_streak_lapses_it_is_kept_and_then_it_is_lost(
        first in settings(),
        start in YEARS,
        steps in steps(60, changes(0.2)),
    ) {
        let mut journey = Journey::new(&first, start);
        for step in &steps {
            journey.take(step);
            let lapses_at = journey.player.streak().lapses_at.expect("a streak");
            let days = journey.player.streak().days;
            let mut late = journey.player.clone();
            prop_assert!(late.contribute(lapses_at).contains(&"streak_lost"));
            let mut in_time = journey.player.clone();
            let events = in_time.contribute(lapses_at.plus(-1));
            prop_assert!(!events.contains(&"streak_lost"));
            prop_assert!((days..=days + 1).contains(&in_time.streak().days));
        }
    }
}

/// Every change of the clock in two years, in every zone and with every start hour.
#[test]
fn a_day_ends_when_the_next_one_begins_for_good() {
    for name in ZONES.iter() {
        let zone = TimeZoneDatabase::bundled().get(name).expect("a zone");
        let first = Timestamp::from_millisecond(YEARS.start).expect("a time");
        let changes = zone
            .following(first)
            .map(|it| it.timestamp().as_millisecond());
        for change in changes.take_while(|at| *at < YEARS.end) {
            for start_hour in 0..=6 {
                let zone = name.clone();
                check_ends(&DaySettings { zone, start_hour }, UnixMillis(change));
            }
        }
    }
}

/// Checks the ends of the days around a change of the clock.
fn check_ends(settings: &DaySettings, change: UnixMillis) {
    for days in -1..=1 {
        let at = change.plus(days * DAY_MS);
        let day = settings.day_of(at);
        let end = settings.end_after(at, 0);
        assert!(settings.day_of(end.plus(-1)) <= day, "{settings:?} {at}");
        for half_hours in 0..10 {
            let later = end.plus(half_hours * HOUR_MS / 2);
            assert!(settings.day_of(later) > day, "{settings:?} {at} {later}");
        }
    }
}
