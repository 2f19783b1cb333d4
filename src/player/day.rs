//! When a player's day begins.

use std::collections::BTreeMap;

use jiff::Span;
use jiff::civil::Date;
use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::state::Setting;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::calendar::Calendar;

/// The settings that decide when a player's day begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaySettings {
    /// Name of the player's time zone.
    pub zone: String,
    /// The hour on the clock at which the day begins.
    pub start_hour: u8,
}

impl DaySettings {
    pub(super) fn from_settings(settings: &BTreeMap<String, Setting>) -> DaySettings {
        let unset = DaySettings {
            zone: "UTC".to_owned(),
            start_hour: 0,
        };
        let set = ["zone", "day_start_hour"].map(|key| Some((key, settings.get(key)?)));
        let set = set.into_iter().flatten();
        set.fold(unset, |all, (key, setting)| all.with(key, &setting.value))
    }

    /// Returns these settings with another value of one of them. A value that it cannot have counts
    /// as if it were not set.
    pub(super) fn with(self, key: &str, value: &Value) -> DaySettings {
        match key {
            "zone" => DaySettings {
                zone: value.as_str().unwrap_or("UTC").to_owned(),
                ..self
            },
            _ => DaySettings {
                start_hour: value
                    .as_u64()
                    .and_then(|it| it.try_into().ok())
                    .unwrap_or(0),
                ..self
            },
        }
    }

    /// Returns the player's day: the date on the clock there, less the hour at which days begin. A
    /// zone that this release does not know counts as UTC.
    pub fn day_of(&self, at: UnixMillis) -> Date {
        self.calendar().day_of(at)
    }

    /// Returns when the clock shows an hour on a day, which may be on the date after it.
    pub(super) fn moment_of(&self, day: Date, hour: u64) -> UnixMillis {
        self.calendar().moment_of(day, hour)
    }

    /// Returns how many days later a moment is than another one.
    pub(super) fn days_between(&self, earlier: UnixMillis, later: UnixMillis) -> i64 {
        let calendar = self.calendar();
        let [earlier, later] = [earlier, later].map(|at| calendar.day_of(at));
        later.duration_since(earlier).as_hours() / 24
    }

    /// Returns when the last one of the days ends that follow the day of a moment.
    pub(super) fn end_after(&self, at: UnixMillis, days: u64) -> UnixMillis {
        let day = self.day_of(at);
        let days = Span::new().try_days(days.try_into().unwrap_or(i64::MAX));
        let last = days.and_then(|days| day.checked_add(days));
        last.map_or(UnixMillis(i64::MAX), |last| self.end_of(last))
    }

    /// Returns when the day before the day of a moment ended.
    pub(super) fn end_before(&self, at: UnixMillis) -> UnixMillis {
        let yesterday = self.day_of(at).yesterday();
        yesterday.map_or(UnixMillis(i64::MIN), |day| self.end_of(day))
    }

    /// Returns when a day ends: from then on it is a later day.
    fn end_of(&self, day: Date) -> UnixMillis {
        let next = day.tomorrow();
        next.map_or(UnixMillis(i64::MAX), |next| self.calendar().begin_of(next))
    }

    fn calendar(&self) -> Calendar {
        let calendar = Calendar::find(&self.zone, self.start_hour);
        calendar.unwrap_or_else(|| Calendar::utc(self.start_hour))
    }
}
