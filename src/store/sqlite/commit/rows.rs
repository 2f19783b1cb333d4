//! The rows that an append makes in each table, as JSON arrays. Blobs go as hexadecimal text.

use raidhall_protocol::{Event, EventData, PlayerId};
use serde::Serialize;

use crate::store::effects::{self, PlayerGains, RaidCreation};
use crate::store::sqlite::fault::refused;
use crate::store::{Append, LedgerEvent, Result};

/// What one append writes.
pub(super) struct AppendRows {
    pub(super) raid: i64,
    /// For `CREATE`, if the append makes the raid.
    pub(super) creation: Option<String>,
    /// For `ADVANCE`.
    pub(super) header: String,
    /// For `INSERT_EVENTS`.
    pub(super) events: Vec<String>,
    /// For `JOIN`, which `LEAVE` follows.
    pub(super) joined: Vec<String>,
    /// For `LEAVE`.
    pub(super) left: Vec<String>,
    gains: Vec<(PlayerId, PlayerGains)>,
}

/// An array of rows; `None` of none.
pub(in super::super) fn json_array<T: AsRef<str>>(rows: impl Iterator<Item = T>) -> Option<String> {
    let mut text = String::from("[");
    for row in rows {
        text.push_str(row.as_ref());
        text.push(',');
    }
    (text.pop() == Some(',')).then(|| text + "]")
}

impl AppendRows {
    pub(super) fn from_append(append: &Append) -> Result<AppendRows> {
        let members = effects::memberships(append);
        let gone = members
            .iter()
            .filter(|(_, is_member)| !**is_member)
            .map(|(player, _)| player);
        let rows_of = |player: &PlayerId| json_row(&(player, append.raid));
        Ok(AppendRows {
            raid: append.raid.into(),
            creation: creation(append)?,
            header: header(append)?,
            events: append
                .events
                .iter()
                .map(|recorded| event(append, recorded))
                .collect::<Result<_>>()?,
            joined: effects::joined(append)
                .iter()
                .map(rows_of)
                .collect::<Result<_>>()?,
            left: gone.map(rows_of).collect::<Result<_>>()?,
            gains: effects::gains(append),
        })
    }
}

/// What players gain, for `CREDIT_PLAYERS`.
pub(super) fn gains(batch: &[AppendRows]) -> Option<String> {
    let gains = effects::add_up(batch.iter().flat_map(|rows| &rows.gains));
    json_array(gains.iter().map(|(player, gained)| {
        let PlayerGains {
            xp,
            tasks,
            raids_won,
        } = gained;
        format!("[{player},{xp},{tasks},{raids_won}]")
    }))
}

fn creation(append: &Append) -> Result<Option<String>> {
    let Some(creation) = RaidCreation::of(append) else {
        return Ok(None);
    };
    json_row(&(
        append.raid,
        append.created_month.0,
        creation.title,
        creation.invite_code,
        append.create_key.map(|key| hex(key.0)),
        creation.target_xp,
        creation.target_tasks,
        creation.time_limit_secs,
        creation.created_at,
        hex(append.owner.0.into_bytes()),
        append.epoch.0,
    ))
    .map(Some)
}

fn header(append: &Append) -> Result<String> {
    let header = &append.header;
    json_row(&(
        append.raid,
        hex(append.owner.0.into_bytes()),
        append.epoch.0,
        append.first_seq().0 - 1, // checked with the batch: at least 1
        append.last_seq(),
        header.status,
        header.deadline,
        header.current_xp,
        header.current_tasks,
        header.ended_at,
    ))
}

fn event(append: &Append, LedgerEvent { event, op }: &LedgerEvent) -> Result<String> {
    let (player, xp) = event.data.earned().unzip();
    json_row(&(
        append.created_month.0,
        append.raid,
        event.seq,
        event.at,
        event.by,
        player,
        xp,
        event.data.version(),
        event.data.kind(),
        op.map(|key| hex(key.0)),
        data(&event.data)?,
    ))
}

/// For `REWRITE_EVENTS` of the erasures: an event that is in the ledger, with other data.
pub(in super::super) fn rewritten_row(event: &Event) -> Result<String> {
    json_row(&(event.seq, data(&event.data)?))
}

/// The content of an event's data, without its type, as JSON text.
fn data(data: &EventData) -> Result<String> {
    let tagged = serde_json::to_value(data).map_err(|error| refused("encode event", error))?;
    Ok(tagged["data"].to_string())
}

fn json_row(columns: &impl Serialize) -> Result<String> {
    serde_json::to_string(columns).map_err(|error| refused("encode row", error))
}

fn hex(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}
