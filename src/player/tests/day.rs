//! When a player's day begins.

use jiff::Timestamp;
use raidhall_protocol::UnixMillis;

use super::{NOW, execute, new_fold, set};
use crate::player::DaySettings;

/// Checks the day of a time with its offset, such as `2026-11-28T23:30+05:00`.
#[track_caller]
fn check(zone: &str, start_hour: u8, at: &str, expected: &str) {
    let settings = DaySettings {
        zone: zone.to_owned(),
        start_hour,
    };
    let time: Timestamp = at.parse().expect("a time with an offset");
    let day = settings.day_of(UnixMillis(time.as_millisecond()));
    assert_eq!(day.to_string(), expected, "{at}");
}

#[test]
fn a_day_is_the_date_on_the_clock_less_the_start_hour() {
    check("UTC", 0, "2026-11-28T23:59:59.999Z", "2026-11-28");
    check("UTC", 0, "2026-11-29T00:00Z", "2026-11-29");
    check("Asia/Tashkent", 0, "2026-11-28T19:00Z", "2026-11-29");
    check("Asia/Tashkent", 6, "2026-11-29T05:59+05:00", "2026-11-28");
    check("Asia/Tashkent", 6, "2026-11-29T06:00+05:00", "2026-11-29");
    check("Pacific/Kiritimati", 0, "2026-11-28T10:00Z", "2026-11-29");
    check("Pacific/Pago_Pago", 0, "2026-11-28T10:59Z", "2026-11-27");
}

/// The clock jumps from 02:00 to 03:00, so 04:30 is three and a half hours after midnight.
#[test]
fn after_a_spring_switch_half_past_four_is_the_new_day() {
    let zone = "Europe/Berlin";
    check(zone, 4, "2026-03-29T03:59:59.999+02:00", "2026-03-28");
    check(zone, 4, "2026-03-29T04:00+02:00", "2026-03-29");
    check(zone, 4, "2026-03-29T04:30+02:00", "2026-03-29");
    check(zone, 2, "2026-03-29T01:59:59.999+01:00", "2026-03-28");
    check(zone, 2, "2026-03-29T03:00+02:00", "2026-03-29");
}

/// The clock goes back from 03:00 to 02:00, and shows 02:30 twice.
#[test]
fn at_an_autumn_switch_the_clock_decides_and_not_what_has_passed() {
    let zone = "Europe/Berlin";
    check(zone, 3, "2026-10-25T02:30+02:00", "2026-10-24");
    check(zone, 3, "2026-10-25T02:30+01:00", "2026-10-24");
    check(zone, 3, "2026-10-25T03:00+01:00", "2026-10-25");
}

#[test]
fn a_zone_that_this_release_does_not_know_counts_as_utc() {
    for zone in ["Mars/Olympus", ""] {
        check(zone, 0, "2026-11-28T23:59Z", "2026-11-28");
        check(zone, 4, "2026-11-29T03:59Z", "2026-11-28");
    }
}

#[test]
fn a_time_beyond_the_calendar_is_on_the_first_day_of_unix_time() {
    for at in [i64::MIN, i64::MAX] {
        let day = new_fold().day_settings().day_of(UnixMillis(at));
        assert_eq!(day.to_string(), "1970-01-01");
    }
}

#[test]
fn the_settings_of_a_day_are_utc_and_midnight_until_they_are_set() {
    let mut fold = new_fold();
    let day = |zone: &str, start_hour| DaySettings {
        zone: zone.to_owned(),
        start_hour,
    };
    assert_eq!(fold.day_settings(), day("UTC", 0));
    assert_eq!(fold.day_settings().day_of(NOW).to_string(), "2027-01-15");
    assert_eq!(execute(&mut fold, set("zone", "Asia/Tashkent")), Ok(1));
    assert_eq!(execute(&mut fold, set("day_start_hour", 4)), Ok(1));
    assert_eq!(fold.day_settings(), day("Asia/Tashkent", 4));
}
