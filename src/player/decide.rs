//! What follows from a command to a player's stream.

mod correction;
mod shop;

use std::time::Duration;

use raidhall_protocol::limits::{
    APP_SETTINGS_MAX, NAME_CHARS_MAX, NOTICE_BODY_CHARS_MAX, NOTICE_BYTES_MAX,
    NOTICE_KIND_CHARS_MAX, NOTICE_TITLE_CHARS_MAX, NOTICE_URL_CHARS_MAX, SETTINGS_BYTES_MAX,
};
use raidhall_protocol::player::{PlayerCommand, PlayerEventData};
use raidhall_protocol::{Seq, UnixMillis};
use serde_json::{Value, json};

use super::fold::PlayerFold;
use super::rewards::{Happening, reward};
use super::settings::{check_key, check_value, is_app_setting, is_day_setting, json_bytes};
use super::streak;
use crate::definitions::Definitions;
use crate::error::Error;
use crate::raid::Values;

const DAY_MS: i64 = 86_400_000;
/// How often a player may change their name in one day.
const NAME_CHANGES_MAX: usize = 3;
/// How often a player may change what decides their day, in [`DAY_CHANGES_PERIOD_MS`].
const DAY_CHANGES_MAX: usize = 2;
const DAY_CHANGES_PERIOD_MS: i64 = 7 * DAY_MS;

/// Who sends a command to a player's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// The player, from one of their devices.
    Player,
    /// The host app's backend.
    Service,
    /// An operator of the server.
    Operator,
}

impl Author {
    /// Returns who may send a command.
    pub const fn of(command: &PlayerCommand) -> Author {
        match command {
            PlayerCommand::SetSetting { .. }
            | PlayerCommand::SetName { .. }
            | PlayerCommand::ReadThrough { .. }
            | PlayerCommand::Buy { .. }
            | PlayerCommand::Equip { .. }
            | PlayerCommand::RepairStreak => Self::Player,
            PlayerCommand::GrantXp { .. }
            | PlayerCommand::GrantCoins { .. }
            | PlayerCommand::GrantItem { .. }
            | PlayerCommand::Notify { .. } => Self::Service,
            PlayerCommand::Correct { .. } => Self::Operator,
        }
    }

    /// Returns the refusal of a command that only this author may send.
    const fn refusal(self) -> &'static str {
        match self {
            Self::Player => "Only the player may do this",
            Self::Service => "Only the host app's backend may do this",
            Self::Operator => "Only operators may do this",
        }
    }
}

/// Checks everything about a command that does not depend on the state: who sends it, and its values.
/// Returns it with its values as they are stored.
pub fn check(author: Author, command: &PlayerCommand) -> Result<PlayerCommand, Error> {
    let permitted = Author::of(command);
    if author != permitted {
        return Err(Error::Forbidden(permitted.refusal()));
    }
    match command {
        PlayerCommand::SetSetting {
            key,
            value,
            if_version,
        } => {
            let value = check_setting(key, value.clone())?;
            Ok(PlayerCommand::SetSetting {
                key: key.clone(),
                value,
                if_version: *if_version,
            })
        }
        PlayerCommand::SetName { name } => {
            let mut values = Values::default();
            let name = values.name("name", name, NAME_CHARS_MAX);
            values.finish()?;
            Ok(PlayerCommand::SetName { name })
        }
        PlayerCommand::ReadThrough { .. } | PlayerCommand::RepairStreak => Ok(command.clone()),
        PlayerCommand::Buy { item }
        | PlayerCommand::Equip { item }
        | PlayerCommand::GrantItem { item } => {
            shop::check_item(item)?;
            Ok(command.clone())
        }
        PlayerCommand::GrantXp { amount, kind, note } => shop::check_xp_grant(*amount, kind, note),
        PlayerCommand::GrantCoins { amount, note } => shop::check_coins_grant(*amount, note),
        PlayerCommand::Correct {
            field,
            amount,
            note,
        } => correction::check(*field, *amount, note),
        PlayerCommand::Notify {
            kind,
            title,
            body,
            url,
        } => check_notice(kind, title, body, url.clone()),
    }
}

/// Decides a command that [`check`] returned. Returns the data of the events that it causes; none if
/// it changes nothing.
pub fn decide(
    fold: &PlayerFold,
    command: &PlayerCommand,
    definitions: &Definitions,
    now: UnixMillis,
) -> Result<Vec<PlayerEventData>, Error> {
    let happenings = match command {
        PlayerCommand::SetSetting {
            key,
            value,
            if_version,
        } => set_setting(fold, key, value, *if_version, now)?,
        PlayerCommand::SetName { name } => set_name(fold, name, now)?,
        PlayerCommand::ReadThrough { seq } => read_through(fold, *seq)?,
        PlayerCommand::Buy { item } => shop::buy(fold, item, definitions)?,
        PlayerCommand::Equip { item } => shop::equip(fold, item, definitions)?,
        PlayerCommand::RepairStreak => streak::repair(fold, definitions.streaks.as_ref(), now)?,
        PlayerCommand::GrantXp { amount, kind, note } => {
            shop::grant_xp(*amount, kind, note, definitions, now)
        }
        PlayerCommand::GrantCoins { amount, note } => shop::grant_coins(fold, *amount, note)?,
        PlayerCommand::GrantItem { item } => shop::grant_item(fold, item, definitions)?,
        PlayerCommand::Correct {
            field,
            amount,
            note,
        } => correction::correct(fold, *field, *amount, note, definitions, now)?,
        PlayerCommand::Notify {
            kind,
            title,
            body,
            url,
        } => vec![Happening::Other(PlayerEventData::Notified {
            kind: kind.clone(),
            data: notice_data(title, body, url.as_deref()),
        })],
    };
    Ok(reward(fold, happenings, definitions))
}

/// Returns a setting's value as it is stored.
fn check_setting(key: &str, value: Value) -> Result<Value, Error> {
    let mut values = Values::default();
    let checked = match check_key(key) {
        Err(fault) => Err(("key", fault)),
        Ok(()) => check_value(key, value).map_err(|fault| ("value", fault)),
    };
    let stored = checked.unwrap_or_else(|(field, fault)| {
        values.fault(field, fault);
        Value::Null
    });
    values.finish()?;
    Ok(stored)
}

fn set_setting(
    fold: &PlayerFold,
    key: &str,
    value: &Value,
    if_version: Option<u64>,
    now: UnixMillis,
) -> Result<Vec<Happening>, Error> {
    let settings = &fold.state.settings;
    let present = settings.get(key);
    let version = present.map_or(0, |setting| setting.version);
    if if_version.is_some_and(|expected| expected != version) {
        return Err(Error::Conflict("The setting has another version"));
    }
    if present.is_some_and(|setting| setting.value == *value) {
        return Ok(Vec::new());
    }
    let mut values = Values::default();
    let app_settings = settings.keys().filter(|key| is_app_setting(key)).count();
    if is_app_setting(key) && present.is_none() && app_settings >= APP_SETTINGS_MAX {
        values.fault(
            "key",
            "must not be another one: there are 64 settings of the app",
        );
    }
    let bytes = |key: &str, value: &Value| key.len() + json_bytes(value);
    let others = settings.iter().filter(|(other, _)| *other != key);
    let others = others.map(|(key, setting)| bytes(key, &setting.value));
    if others.sum::<usize>() + bytes(key, value) > SETTINGS_BYTES_MAX {
        values.fault(
            "value",
            "must leave all settings within 16384 bytes of JSON",
        );
    }
    values.finish()?;
    if is_day_setting(key) {
        let wait = fold
            .day_changes
            .wait(DAY_CHANGES_MAX, DAY_CHANGES_PERIOD_MS, now);
        check_wait(wait)?;
    }
    let day_settings = is_day_setting(key).then(|| fold.day_settings().with(key, value));
    let lapses_at = day_settings.and_then(|it| streak::lapses_at_with(fold, &it, now));
    Ok(vec![Happening::Other(PlayerEventData::SettingSet {
        key: key.to_owned(),
        value: value.clone(),
        version: version + 1,
        lapses_at,
    })])
}

fn set_name(fold: &PlayerFold, name: &str, now: UnixMillis) -> Result<Vec<Happening>, Error> {
    if name == fold.state.name {
        return Ok(Vec::new());
    }
    check_wait(fold.name_changes.wait(NAME_CHANGES_MAX, DAY_MS, now))?;
    let name = name.to_owned();
    Ok(vec![Happening::Other(PlayerEventData::NameChanged {
        name,
    })])
}

fn read_through(fold: &PlayerFold, seq: Seq) -> Result<Vec<Happening>, Error> {
    let mut values = Values::default();
    if seq > fold.seq {
        values.fault("seq", "must not be above the newest seq");
    }
    values.finish()?;
    if seq <= fold.state.read_through {
        return Ok(Vec::new());
    }
    Ok(vec![Happening::Other(PlayerEventData::ReadThrough { seq })])
}

fn check_notice(
    kind: &str,
    title: &str,
    body: &str,
    url: Option<String>,
) -> Result<PlayerCommand, Error> {
    let mut values = Values::default();
    let is_kind = |c: char| c.is_ascii_lowercase() || c == '_';
    if !(1..=NOTICE_KIND_CHARS_MAX).contains(&kind.len()) || !kind.chars().all(is_kind) {
        values.fault("kind", "must be 1 to 32 characters of a-z _");
    }
    let title = values.name("title", title, NOTICE_TITLE_CHARS_MAX);
    let body = values.text("body", body, NOTICE_BODY_CHARS_MAX);
    if url.as_deref().is_some_and(|url| !is_link(url)) {
        values.fault(
            "url",
            "must be an https URL or a path of the app that begins with /, of at most 500 characters",
        );
    }
    if json_bytes(&notice_data(&title, &body, url.as_deref())) > NOTICE_BYTES_MAX {
        values.fault(
            "body",
            "must leave the notification within 2048 bytes of JSON",
        );
    }
    values.finish()?;
    Ok(PlayerCommand::Notify {
        kind: kind.to_owned(),
        title,
        body,
        url,
    })
}

/// Returns the data of a notification of the host app.
fn notice_data(title: &str, body: &str, url: Option<&str>) -> Value {
    json!({"title": title, "body": body, "url": url})
}

/// Returns whether a text is an https URL or a path of the app. A path with two slashes would name
/// another host.
fn is_link(url: &str) -> bool {
    let is_plain = !url
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || c == '\\');
    let is_path = url.starts_with('/') && !url.starts_with("//");
    let host = url.strip_prefix("https://").unwrap_or("");
    let has_host = !host.is_empty() && !host.starts_with(['/', '?', '#']);
    url.chars().count() <= NOTICE_URL_CHARS_MAX && is_plain && (is_path || has_host)
}

fn check_wait(wait_ms: i64) -> Result<(), Error> {
    match u64::try_from(wait_ms) {
        Ok(wait) if wait > 0 => Err(Error::RateLimited(Duration::from_millis(wait))),
        _ => Ok(()),
    }
}
