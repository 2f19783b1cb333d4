//! Conversions between the store's types and columns.

use std::num::TryFromIntError;
use std::time::Duration;

use raidhall_protocol::event::EVENT_VERSION;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq, UnixMillis};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::progression::DefinitionsNumber;
use crate::store::{CommittedEvent, InstanceId, OpHash, RaidHeader};

/// Converts a number that is to be written; fails if it exceeds a bigint.
pub(super) fn bigint(number: u64) -> Result<i64, TryFromIntError> {
    number.try_into()
}

/// Converts a number that is only compared with; a larger one becomes the largest bigint, which
/// nothing stored exceeds.
pub(super) fn clamped(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Converts a duration to milliseconds, at most a thousand years.
pub(super) fn millis(duration: Duration) -> i64 {
    // Added to a date, a thousand years still gives a valid date.
    const MAX: i64 = 1_000 * 366 * 86_400_000;
    i64::try_from(duration.as_millis()).map_or(MAX, |millis| millis.min(MAX))
}

/// Encodes an event's data as JSON, without its type.
pub(super) fn event_data_json(data: &EventData) -> serde_json::Result<String> {
    let mut tagged = serde_json::to_value(data)?;
    serde_json::to_string(&tagged["data"].take())
}

/// An event version that this release does not know.
#[derive(Debug, thiserror::Error)]
#[error("event version {0} is newer than this release")]
pub(super) struct NewerEventVersion(pub(super) u16);

/// Reads an event from the columns seq, at, by, kind, version and data (as text).
pub(super) fn event(row: &PgRow) -> sqlx::Result<Event> {
    let version: i16 = row.try_get("version")?;
    if version > EVENT_VERSION.cast_signed() {
        return Err(decode(NewerEventVersion(version.cast_unsigned())));
    }
    let kind: &str = row.try_get("kind")?;
    let content: &str = row.try_get("data")?;
    let tagged = format!(r#"{{"type":"{kind}","data":{content}}}"#);
    Ok(Event {
        seq: seq(row, "seq")?,
        at: UnixMillis(row.try_get("at")?),
        by: row
            .try_get::<Option<i64>, _>("by")?
            .map(PlayerId::try_from)
            .transpose()
            .map_err(decode)?,
        data: serde_json::from_str(&tagged).map_err(decode)?,
    })
}

/// Reads an event with its raid and its definitions, from the columns of [`event`], raid_id and
/// definitions.
pub(super) fn committed_event(row: &PgRow) -> sqlx::Result<CommittedEvent> {
    let definitions: Option<i32> = row.try_get("definitions")?;
    let definitions = definitions.map(|number| DefinitionsNumber(number.cast_unsigned()));
    Ok(CommittedEvent {
        raid: raid(row, "raid_id")?,
        event: event(row)?,
        definitions: definitions.unwrap_or_default(),
    })
}

/// Reads the columns of a raid's row that its events change.
pub(super) fn header(row: &PgRow) -> sqlx::Result<RaidHeader> {
    let name: &str = row.try_get("status")?;
    let status = RaidStatus::ALL
        .into_iter()
        .find(|status| status.as_str() == name);
    let moment =
        |column| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(UnixMillis));
    Ok(RaidHeader {
        status: status.ok_or_else(|| decode(format!("unknown status {name:?}")))?,
        deadline: moment("deadline")?,
        current_xp: number(row, "current_xp")?,
        current_tasks: number(row, "current_tasks")?,
        ended_at: moment("ended_at")?,
    })
}

/// Reads a number that is never negative.
pub(super) fn number(row: &PgRow, column: &str) -> sqlx::Result<u64> {
    row.try_get::<i64, _>(column)?.try_into().map_err(decode)
}

/// Reads an event's seq.
pub(super) fn seq(row: &PgRow, column: &str) -> sqlx::Result<Seq> {
    number(row, column).map(Seq)
}

pub(super) fn raid(row: &PgRow, column: &str) -> sqlx::Result<RaidId> {
    row.try_get::<i64, _>(column)?.try_into().map_err(decode)
}

pub(super) fn player(row: &PgRow, column: &str) -> sqlx::Result<PlayerId> {
    row.try_get::<i64, _>(column)?.try_into().map_err(decode)
}

/// Reads an instance's id, or null as `None`.
pub(super) fn instance(row: &PgRow, column: &str) -> sqlx::Result<Option<InstanceId>> {
    Ok(row.try_get::<Option<Uuid>, _>(column)?.map(InstanceId))
}

/// Reads an op key, or null as `None`.
pub(super) fn op(row: &PgRow, column: &str) -> sqlx::Result<Option<OpHash>> {
    let bytes: Option<&[u8]> = row.try_get(column)?;
    bytes
        .map(|bytes| bytes.try_into().map(OpHash).map_err(decode))
        .transpose()
}

/// Wraps the error of a value that does not fit the types of this release.
pub(super) fn decode(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
