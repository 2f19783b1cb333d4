//! The settings of a player: their keys, and the values that each can have.

use jiff::tz::TimeZoneDatabase;
use raidhall_protocol::limits::{SETTING_BYTES_MAX, SETTING_KEY_CHARS_MAX};
use serde_json::{Number, Value};

/// Maximum characters of a language tag (RFC 5646 recommends room for 35).
const LANGUAGE_CHARS_MAX: usize = 35;

const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

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
    let value = storable(value).ok_or("must not contain the character U+0000")?;
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

/// Returns a value as every store returns it: Postgres writes whole numbers without an exponent or sign
/// of zero, and some MessagePack encoders write every number as a float. Returns `None` for a text that Postgres cannot store.
fn storable(value: Value) -> Option<Value> {
    let text = |text: String| (!text.contains('\0')).then_some(text);
    Some(match value {
        Value::String(string) => text(string)?.into(),
        Value::Number(number) => whole_number(&number).unwrap_or(number).into(),
        Value::Array(items) => items.into_iter().map(storable).collect::<Option<_>>()?,
        Value::Object(entries) => {
            let entry = |(key, value)| Some((text(key)?, storable(value)?));
            Value::Object(entries.into_iter().map(entry).collect::<Option<_>>()?)
        }
        Value::Null | Value::Bool(_) => value,
    })
}

/// Returns a float without a fraction as an integer, if it is in the range of integers.
fn whole_number(number: &Number) -> Option<Number> {
    let float = number.as_f64().filter(|_| number.is_f64())?;
    let is_whole = float.fract() == 0.0;
    if is_whole && (-TWO_TO_63..0.0).contains(&float) {
        Some(Number::from(float as i64))
    } else if is_whole && (0.0..2.0 * TWO_TO_63).contains(&float) {
        Some(Number::from(float as u64))
    } else {
        None
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
    let is_hour = |hour| (0..=max).contains(&hour);
    value.as_i64().is_some_and(is_hour).then_some(value)
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
