//! When a player's day begins.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::state::Setting;
use serde::{Deserialize, Serialize};

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
        let value = |key| settings.get(key).map(|setting| &setting.value);
        let zone = value("zone").and_then(|zone| zone.as_str());
        let hour = value("day_start_hour").and_then(|hour| hour.as_u64());
        DaySettings {
            zone: zone.unwrap_or("UTC").to_owned(),
            start_hour: hour.and_then(|hour| hour.try_into().ok()).unwrap_or(0),
        }
    }

    /// Returns the player's day: the date on the clock there, less the hour at which days begin. A
    /// zone that this release does not know counts as UTC.
    pub fn day_of(&self, at: UnixMillis) -> Date {
        let zone = TimeZoneDatabase::bundled()
            .get(&self.zone)
            .unwrap_or(TimeZone::UTC);
        let at = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH);
        let start = SignedDuration::from_hours(self.start_hour.into());
        zone.to_datetime(at).saturating_sub(start).date()
    }
}
