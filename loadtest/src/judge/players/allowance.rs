//! How much of a task's XP counts, written from the protocol's specification.

use std::collections::BTreeMap;

use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::event::Allowance;
use raidhall_protocol::player::state::Setting;
use serde_json::Value;

const UNRANKED_XP_PER_DAY: u64 = 300;
const RANKED_XP_PER_DAY: u64 = 2_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Prefix of the zones with a fixed offset. Their sign is that of POSIX: `Etc/GMT-5` is ahead of UTC.
const FIXED_ZONE: &str = "Etc/GMT";

/// When days begin for a player, in milliseconds after midnight UTC. The load tester's devices set
/// only zones with a fixed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DayBegin(i64);

impl DayBegin {
    pub(super) fn from_settings(settings: &BTreeMap<String, Setting>) -> DayBegin {
        let value = |key: &str| settings.get(key).map(|setting| &setting.value);
        let zone = value("zone").and_then(|zone| zone.as_str());
        let behind_hours = zone
            .and_then(|zone| zone.strip_prefix(FIXED_ZONE)?.parse::<i64>().ok())
            .unwrap_or(0);
        let start_hour = value("day_start_hour").and_then(|hour| hour.as_i64());
        DayBegin((behind_hours + start_hour.unwrap_or(0)) * HOUR_MS)
    }

    /// Returns when days begin after a setting was changed; `None` if it does not decide that.
    pub(super) fn after_change(
        settings: &BTreeMap<String, Setting>,
        key: &str,
        value: &Value,
    ) -> Option<DayBegin> {
        if !matches!(key, "zone" | "day_start_hour") {
            return None;
        }
        let setting = Setting {
            value: value.clone(),
            version: 1,
        };
        let mut settings = settings.clone();
        settings.insert(key.to_owned(), setting);
        Some(DayBegin::from_settings(&settings))
    }

    pub(super) const fn day_of(self, at: UnixMillis) -> i64 {
        (at.0 - self.0).div_euclid(DAY_MS)
    }

    /// Returns when a day ends.
    pub(super) const fn end_of(self, day: i64) -> UnixMillis {
        UnixMillis((day + 1) * DAY_MS + self.0)
    }
}

/// The allowances of one player's latest day with a completed task.
#[derive(Debug, Clone, Copy)]
struct UsedDay {
    since: UnixMillis,
    begin: DayBegin,
    unranked: u64,
    ranked: u64,
}

/// A player's allowances, task by task.
#[derive(Debug, Default)]
pub(super) struct Allowances(Option<UsedDay>);

impl Allowances {
    /// Counts a completed task: returns how much of its XP counts, and the allowance after it.
    pub(super) fn count(
        &mut self,
        begin: DayBegin,
        at: UnixMillis,
        xp: u64,
        ranked: bool,
    ) -> (u64, Allowance) {
        let has_begun = |day: &UsedDay| {
            [day.begin, begin]
                .iter()
                .all(|begin| begin.day_of(at) > begin.day_of(day.since))
        };
        let mut day = self.0.filter(|day| !has_begun(day)).unwrap_or(UsedDay {
            since: at,
            begin,
            unranked: 0,
            ranked: 0,
        });
        let used = if ranked {
            &mut day.ranked
        } else {
            &mut day.unranked
        };
        let max = if ranked {
            RANKED_XP_PER_DAY
        } else {
            UNRANKED_XP_PER_DAY
        };
        let counted = xp.min(max - *used);
        *used += counted;
        let allowance = Allowance {
            ranked,
            used: *used,
            since: day.since,
        };
        self.0 = Some(day);
        (counted, allowance)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Midnight UTC of 2026-11-28.
    const MIDNIGHT: i64 = 1_795_824_000_000;

    fn begin(settings: &[(&str, Value)]) -> DayBegin {
        let setting = |(key, value): &(&str, Value)| {
            let value = value.clone();
            ((*key).to_owned(), Setting { value, version: 1 })
        };
        DayBegin::from_settings(&settings.iter().map(setting).collect())
    }

    fn hour(hour: i64) -> UnixMillis {
        UnixMillis(MIDNIGHT + hour * HOUR_MS)
    }

    #[test]
    fn both_allowances_are_separate_and_a_task_may_count_in_part() {
        let utc = begin(&[]);
        let mut all = Allowances::default();
        let mut count = |xp, ranked| all.count(utc, hour(1), xp, ranked).0;
        assert_eq!(
            [count(200, false), count(200, false), count(1, false)],
            [200, 100, 0]
        );
        assert_eq!(
            [count(1_999, true), count(200, true), count(5, true)],
            [1_999, 1, 0]
        );
    }

    #[test]
    fn a_day_begins_at_the_start_hour_of_the_players_zone() {
        for (settings, last_hour) in [
            (vec![], 23),
            (vec![("day_start_hour", json!(4))], 27),
            (vec![("zone", json!("Etc/GMT-5"))], 18),
            (
                vec![("zone", json!("Etc/GMT+3")), ("day_start_hour", json!(2))],
                28,
            ),
        ] {
            let begin = begin(&settings);
            let mut all = Allowances::default();
            let mut count = |at| all.count(begin, at, 300, false).0;
            assert_eq!(count(hour(10)), 300, "{settings:?}");
            assert_eq!(count(hour(last_hour)), 0, "{settings:?}");
            assert_eq!(count(hour(last_hour + 1)), 300, "{settings:?}");
        }
    }

    #[test]
    fn a_change_of_zone_renews_no_allowance() {
        let west = begin(&[]);
        let east = begin(&[("zone", json!("Etc/GMT-14"))]);
        let mut all = Allowances::default();
        assert_eq!(all.count(west, hour(9), 300, false).0, 300);
        assert_eq!(
            all.count(east, hour(11), 300, false).0,
            0,
            "a new day in the new zone only"
        );
        let (counted, allowance) = all.count(east, hour(24), 300, false);
        assert_eq!((counted, allowance.since), (300, hour(24)));
    }
}
