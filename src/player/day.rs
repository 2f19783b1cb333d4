//! When a player's day begins.

use std::collections::BTreeMap;

use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Span, Timestamp};
use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::state::Setting;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
        self.day_in(&self.time_zone(), at)
    }

    /// Returns how many days later a moment is than another one.
    pub(super) fn days_between(&self, earlier: UnixMillis, later: UnixMillis) -> i64 {
        let zone = self.time_zone();
        let [earlier, later] = [earlier, later].map(|at| self.day_in(&zone, at));
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
        let zone = self.time_zone();
        let start = SignedDuration::from_hours(self.start_hour.into());
        let next = day.tomorrow().map(|next| {
            let begin = next.to_datetime(Time::midnight()).saturating_add(start);
            zone.to_ambiguous_timestamp(begin)
        });
        let both = next.and_then(|next| Ok((next.offset(), next.earlier()?, next.later()?)));
        let Ok((offset, earlier, later)) = both else {
            return UnixMillis(i64::MAX); // beyond the calendar
        };
        let millis = |at: Timestamp| UnixMillis(at.as_millisecond());
        match offset {
            AmbiguousOffset::Unambiguous { .. } => millis(later),
            // The clock jumps over the hour at which the next day begins.
            AmbiguousOffset::Gap { .. } => {
                let jump = zone.following(earlier).next();
                millis(jump.map_or(later, |jump| jump.timestamp()))
            }
            // The clock shows the hour twice. It may have gone back into this day in between.
            AmbiguousOffset::Fold { .. } => {
                let is_back = self.day_in(&zone, millis(later).plus(-1)) <= day;
                millis(if is_back { later } else { earlier })
            }
        }
    }

    fn day_in(&self, zone: &TimeZone, at: UnixMillis) -> Date {
        let at = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH);
        let start = SignedDuration::from_hours(self.start_hour.into());
        zone.to_datetime(at).saturating_sub(start).date()
    }

    fn time_zone(&self) -> TimeZone {
        let zone = TimeZoneDatabase::bundled().get(&self.zone);
        zone.unwrap_or(TimeZone::UTC)
    }
}
