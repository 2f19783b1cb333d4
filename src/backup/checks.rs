//! Checks of the fields of a backup's lines, before anything of them is written: a range for each
//! number, a size for each text, and no control characters. Each line is taken apart field by
//! field, so that a new field does not compile without its check.
//!
//! **Whatever a release may have written passes**, so the checks are those of the first release.
//! Rules that came later hold for new input only, such as that of `protocol::text::check_name`.

use std::fmt::Display;
use std::ops::RangeInclusive;

use raidhall_protocol::limits::{NAME_CHARS_MAX, REASON_CHARS_MAX};
use raidhall_protocol::text::check_characters;
use serde_json::Value;

use super::format::{BackupLine, HeaderLine, hex};
use crate::store::backup::{
    AuditLine, BanLine, BoardScoreLine, DefinitionsLine, EventLine, IdsLine, PlayerEventLine,
    PlayerLine, RaidLine, SignInLine, StreamLine,
};
use crate::store::definitions::hash as definitions_hash;

/// Result of a check; the error begins with the field's name.
pub(super) type Checked = Result<(), String>;

/// Maximum of ids, and of everything that is counted up: half of what the wire contract allows.
/// New ids follow the largest one, so the other half is left for them.
const NUMBER_MAX: i64 = 1 << 52;
/// The end of the year 9999 in Unix milliseconds, the last that the calendar of the ledger has.
const TIME_MAX: i64 = 253_402_300_799_999;
/// Maximum characters of texts that the server composes of configured ones, such as the subject of
/// a token.
const COMPOSED_CHARS_MAX: usize = 4_096;
/// Maximum characters of names of releases, actions and the like.
const WORD_CHARS_MAX: usize = 256;
/// Maximum bytes of an audit entry's details.
const DETAILS_BYTES_MAX: usize = 16_384;

/// Checks the fields of a line, except those that the fold of the events proves.
pub(super) fn check_line(line: &BackupLine) -> Checked {
    match line {
        BackupLine::Header(header) => check_header(header),
        BackupLine::Definitions(definitions) => check_definitions(definitions),
        BackupLine::Player(player) => check_player(player),
        BackupLine::Stream(stream) => check_stream(stream),
        BackupLine::PlayerEvent(event) => check_player_event(event),
        BackupLine::BoardScore(score) => check_board_score(score),
        BackupLine::Raid(raid) => check_raid(raid),
        BackupLine::Event(event) => check_event(event),
        BackupLine::SignIn(sign_in) => check_sign_in(sign_in),
        BackupLine::Ban(ban) => check_ban(ban),
        BackupLine::Deed(entry) => check_audit_entry(entry),
        BackupLine::Ids(IdsLine { players, raids }) => {
            count("players", *players)?;
            count("raids", *raids)
        }
        // A snapshot that is not the folded state is left out, and the footer is compared with the
        // file.
        BackupLine::Snapshot(_) | BackupLine::Footer(_) => Ok(()),
    }
}

/// Checks the fields of the header.
pub(super) fn check_header(header: &HeaderLine) -> Checked {
    let HeaderLine {
        format: _,  // compared when the file is opened
        version: _, // compared with this release's
        release,
        made_at,
        database,
        lineage,
        sign_ins: _, // any value
        boards_since,
        boards_final_until,
    } = header;
    text("release", release, 1..=WORD_CHARS_MAX)?;
    time("made_at", *made_at)?;
    text("database", database, 1..=WORD_CHARS_MAX)?;
    text("lineage", lineage, 1..=WORD_CHARS_MAX)?;
    optional(boards_since, |since| time("boards_since", *since))?;
    optional(boards_final_until, |until| {
        time("boards_final_until", *until)
    })
}

fn check_definitions(definitions: &DefinitionsLine) -> Checked {
    let DefinitionsLine {
        number: _, // compared with that of the line before
        hash,
        body,
        applied_at,
    } = definitions;
    if *hash != hex(&definitions_hash(body)) {
        return Err("hash: is not that of the body".into());
    }
    time("applied_at", *applied_at)
}

fn check_player(player: &PlayerLine) -> Checked {
    let PlayerLine {
        id: player_id,
        name,
        xp,
        tasks,
        raids_won,
        created_at,
        external_id,
        erased_at,
    } = player;
    id("id", *player_id)?;
    text("name", name, 1..=NAME_CHARS_MAX)?;
    count("xp", *xp)?;
    count("tasks", *tasks)?;
    count("raids_won", *raids_won)?;
    time("created_at", *created_at)?;
    optional(external_id, |external_id| {
        text("external_id", external_id, 1..=COMPOSED_CHARS_MAX)
    })?;
    optional(erased_at, |at| time("erased_at", *at))
}

fn check_stream(stream: &StreamLine) -> Checked {
    let StreamLine {
        player,
        last_seq,
        state: _, // compared with the fold
        state_seq,
        due_at: _, // compared with the fold
    } = stream;
    id("player", *player)?;
    count("last_seq", *last_seq)?;
    number("state_seq", *state_seq, 1..=*last_seq)
}

fn check_player_event(event: &PlayerEventLine) -> Checked {
    let PlayerEventLine {
        at,
        version,
        op_key,
        cause_raid,
        cause_seq,
        // The fold proves these; the contents are checked beside it.
        player: _,
        seq: _,
        kind: _,
        data: _,
    } = event;
    time("at", *at)?;
    number("version", *version, 1..=i64::from(i16::MAX))?;
    optional(op_key, |key| hexadecimal("op_key", key, 16))?;
    optional(cause_raid, |raid| id("cause_raid", *raid))?;
    optional(cause_seq, |seq| count("cause_seq", *seq))
}

fn check_board_score(score: &BoardScoreLine) -> Checked {
    let BoardScoreLine {
        board,
        number: window,
        player,
        score,
        reached_at,
        reached_raid,
        reached_seq,
        is_removed: _,
    } = score;
    text("board", board, 1..=WORD_CHARS_MAX)?;
    number("number", *window, -NUMBER_MAX..=NUMBER_MAX)?;
    id("player", *player)?;
    count("score", *score)?;
    time("reached_at", *reached_at)?;
    id("reached_raid", *reached_raid)?;
    count("reached_seq", *reached_seq)
}

fn check_raid(raid: &RaidLine) -> Checked {
    let RaidLine {
        id: raid_id,
        born,
        create_key,
        epoch,
        // The fold proves these.
        title: _,
        invite_code: _,
        target_xp: _,
        target_tasks: _,
        time_limit_secs: _,
        created_at: _,
        status: _,
        deadline: _,
        current_xp: _,
        current_tasks: _,
        ended_at: _,
        last_seq: _,
    } = raid;
    id("id", *raid_id)?;
    let year = born / 100;
    let month = born % 100;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return Err(format!("born: {born} is no month"));
    }
    optional(create_key, |key| hexadecimal("create_key", key, 16))?;
    count("epoch", *epoch)
}

fn check_event(event: &EventLine) -> Checked {
    let EventLine {
        at,
        by,
        version,
        op_key,
        definitions,
        // The fold proves these; their contents are checked by `event_checks`.
        raid: _,
        seq: _,
        kind: _,
        data: _,
    } = event;
    time("at", *at)?;
    optional(by, |by| id("by", *by))?;
    number("version", *version, 1..=i64::from(i16::MAX))?;
    optional(definitions, |of| {
        number("definitions", *of, 1..=i64::from(i32::MAX))
    })?;
    optional(op_key, |key| hexadecimal("op_key", key, 16))
}

fn check_sign_in(sign_in: &SignInLine) -> Checked {
    let SignInLine {
        id: family,
        player,
        current,
        previous,
        rotated_at,
        expires_at,
    } = sign_in;
    hexadecimal("id", family, 16)?;
    id("player", *player)?;
    hexadecimal("current", current, 32)?;
    optional(previous, |previous| hexadecimal("previous", previous, 32))?;
    time("rotated_at", *rotated_at)?;
    time("expires_at", *expires_at)
}

fn check_ban(ban: &BanLine) -> Checked {
    let BanLine {
        player,
        reason,
        by,
        at,
    } = ban;
    id("player", *player)?;
    text("reason", reason, 1..=REASON_CHARS_MAX)?;
    text("by", by, 1..=COMPOSED_CHARS_MAX)?;
    time("at", *at)
}

fn check_audit_entry(entry: &AuditLine) -> Checked {
    let AuditLine {
        id: _, // not part of a backup
        at,
        actor,
        action,
        target,
        request_id,
        details,
    } = entry;
    time("at", *at)?;
    text("actor", actor, 1..=COMPOSED_CHARS_MAX)?;
    text("action", action, 1..=WORD_CHARS_MAX)?;
    text("target", target, 0..=COMPOSED_CHARS_MAX)?;
    text("request_id", request_id, 0..=WORD_CHARS_MAX)?;
    json_bytes("details", details, DETAILS_BYTES_MAX)?;
    check_strings("details", details)
}

/// Checks the length of a value as JSON.
pub(super) fn json_bytes(field: &str, value: &Value, bytes_max: usize) -> Checked {
    if value.to_string().len() > bytes_max {
        return Err(format!("{field}: must be at most {bytes_max} bytes"));
    }
    Ok(())
}

/// Checks that no text in a value has control characters.
pub(super) fn check_strings(field: &str, value: &Value) -> Checked {
    let characters =
        |text: &str| check_characters(text).map_err(|fault| format!("{field}: {fault}"));
    match value {
        Value::String(text) => characters(text),
        Value::Array(items) => (items.iter()).try_for_each(|item| check_strings(field, item)),
        Value::Object(entries) => entries.iter().try_for_each(|(key, value)| {
            characters(key)?;
            check_strings(field, value)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// Checks that all numbers in a value are counts, or counts with a minus.
pub(super) fn check_numbers(field: &str, value: &Value) -> Checked {
    match value {
        Value::Number(found) => {
            let found = found.as_i64().unwrap_or(i64::MAX);
            number(field, found, -NUMBER_MAX..=NUMBER_MAX)
        }
        Value::Array(items) => (items.iter()).try_for_each(|item| check_numbers(field, item)),
        Value::Object(entries) => {
            (entries.iter()).try_for_each(|(key, value)| check_numbers(key, value))
        }
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

/// Checks the id of a player or raid.
pub(super) fn id(field: &str, id: impl TryInto<i64>) -> Checked {
    number(field, id, 1..=NUMBER_MAX)
}

/// Checks a number that is counted up from zero.
pub(super) fn count(field: &str, number: impl TryInto<i64>) -> Checked {
    self::number(field, number, 0..=NUMBER_MAX)
}

/// Checks a time in Unix milliseconds.
pub(super) fn time(field: &str, at: i64) -> Checked {
    number(field, at, 0..=TIME_MAX)
}

/// Checks that a number is in a range.
pub(super) fn number(
    field: &str,
    number: impl TryInto<i64>,
    range: RangeInclusive<i64>,
) -> Checked {
    match number.try_into() {
        Ok(number) if range.contains(&number) => Ok(()),
        _ => Err(between(field, &range, "")),
    }
}

/// Checks a text: its length in characters, and that it has no control characters.
pub(super) fn text(field: &str, text: &str, chars: RangeInclusive<usize>) -> Checked {
    if !chars.contains(&text.chars().count()) {
        return Err(between(field, &chars, " characters"));
    }
    check_characters(text).map_err(|fault| format!("{field}: {fault}"))
}

/// Checks a value unless it is absent.
pub(super) fn optional<T>(value: &Option<T>, check: impl FnOnce(&T) -> Checked) -> Checked {
    value.as_ref().map_or(Ok(()), check)
}

fn hexadecimal(field: &str, text: &str, bytes: usize) -> Checked {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() == bytes * 2 && text.bytes().all(is_digit) {
        Ok(())
    } else {
        Err(format!("{field}: must be {bytes} bytes in hexadecimal"))
    }
}

fn between<T: Display>(field: &str, range: &RangeInclusive<T>, unit: &str) -> String {
    format!(
        "{field}: must be {} to {}{unit}",
        range.start(),
        range.end()
    )
}
