//! The settings of a player: their keys, and the values that each can have.

use jiff::tz::TimeZoneDatabase;
use raidhall_protocol::limits::{SETTING_BYTES_MAX, SETTING_KEY_CHARS_MAX};
use serde_json::Value;

/// Maximum characters of a language tag (RFC 5646 recommends room for 35).
const LANGUAGE_CHARS_MAX: usize = 35;

/// Returns whether a setting decides when the player's day begins.
pub(super) fn is_day_setting(key: &str) -> bool {
    matches!(key, "zone" | "day_start_hour")
}

/// Returns whether the app may use a setting as it likes.
pub(super) fn is_app_setting(key: &str) -> bool {
    key.starts_with("app.")
}

/// Checks a key. Returns what it must be.
pub(super) fn check_key(key: &str) -> Result<(), &'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_named = |rest: &str| !rest.is_empty() && rest.chars().all(is_plain);
    match key.split_once('.') {
        _ if key.len() > SETTING_KEY_CHARS_MAX => Err("must have at most 64 characters"),
        Some(("app" | "notify", rest)) if is_named(rest) => Ok(()),
        Some(("app" | "notify", _)) => {
            Err("must continue with 1 or more characters of A-Z a-z 0-9 _ - . after the dot")
        }
        None if is_fixed(key) => Ok(()),
        _ => Err("is not a setting"),
    }
}

fn is_fixed(key: &str) -> bool {
    is_day_setting(key)
        || matches!(
            key,
            "language" | "theme" | "sound" | "haptics" | "profile" | "boards"
        )
}

/// Checks a value for a valid key, and returns it as it is stored, or else what it must be.
pub(super) fn check_value(key: &str, value: Value) -> Result<Value, &'static str> {
    if json_bytes(&value) > SETTING_BYTES_MAX {
        return Err("must be at most 1024 bytes of JSON");
    }
    match key {
        "zone" => canonical_zone(&value).ok_or("must be the name of an IANA time zone"),
        "day_start_hour" => check_hour(value, 6).ok_or("must be a whole number from 0 to 6"),
        "notify.streak_hour" => check_hour(value, 23).ok_or("must be a whole number from 0 to 23"),
        "language" => Some(value)
            .filter(is_language_tag)
            .ok_or("must be a language tag such as en or pt-BR"),
        "theme" => Some(value)
            .filter(|value| is_one_of(value, &["system", "light", "dark"]))
            .ok_or("must be system, light or dark"),
        "profile" | "boards" => Some(value)
            .filter(|value| is_one_of(value, &["public", "companions", "hidden"]))
            .ok_or("must be public, companions or hidden"),
        _ if is_app_setting(key) => Ok(value),
        _ => Some(value)
            .filter(Value::is_boolean)
            .ok_or("must be true or false"),
    }
}

/// Returns the length of a value as JSON.
pub(super) fn json_bytes(value: &Value) -> usize {
    value.to_string().len()
}

/// Returns the zone's name as the database of time zones spells it.
fn canonical_zone(value: &Value) -> Option<Value> {
    let zone = TimeZoneDatabase::bundled().get(value.as_str()?).ok()?;
    zone.iana_name().map(Value::from)
}

fn check_hour(value: Value, max: i64) -> Option<Value> {
    // Some MessagePack encoders write every number as a float.
    let from_float = |number: f64| (number.fract() == 0.0).then_some(number as i64);
    let hour = value
        .as_i64()
        .or_else(|| value.as_f64().and_then(from_float))?;
    (0..=max).contains(&hour).then(|| Value::from(hour))
}

fn is_language_tag(value: &Value) -> bool {
    value.as_str().is_some_and(|tag| {
        let is_subtag = |part: &str| {
            (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        tag.len() <= LANGUAGE_CHARS_MAX && tag.split('-').all(is_subtag)
    })
}

fn is_one_of(value: &Value, names: &[&str]) -> bool {
    value.as_str().is_some_and(|text| names.contains(&text))
}
