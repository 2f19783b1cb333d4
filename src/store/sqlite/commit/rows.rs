//! The rows that an append writes to each table, as JSON arrays. Blobs are hexadecimal text.

use raidhall_protocol::{Event, EventData};
use serde::Serialize;

use crate::store::effects::{self, Leadership, RaidCreation};
use crate::store::sqlite::fault::refused;
use crate::store::{Append, LedgerEvent, Result};

/// Rows of one append, by the statement that takes them.
pub(super) struct AppendRows {
    pub(super) raid: i64,
    /// Row for `CREATE`, if the append creates the raid.
    pub(super) creation: Option<CreationRow>,
    /// Row for `ADVANCE`, which checks the fence.
    pub(super) header: String,
    /// Rows for `INSERT_EVENTS`, one per event.
    pub(super) events: Vec<String>,
    /// Rows for `JOIN`, which runs before `LEAVE`.
    pub(super) joined: Vec<String>,
    /// Rows for `LEAVE`, one per player who left.
    pub(super) left: Vec<String>,
}

/// The row of a new raid.
pub(super) struct CreationRow {
    /// The row for `CREATE`, as JSON.
    pub(super) row: String,
    /// The raid's leader, unless it has ended already.
    pub(super) leader: Option<i64>,
    /// The number of open raids that the leader may lead.
    pub(super) led_raids_max: Option<u32>,
}

/// Joins rows to a JSON array; `None` if there are no rows.
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
                .map(|(player, at)| json_row(&(player, append.raid, at)))
                .collect::<Result<_>>()?,
            left: gone
                .map(|player| json_row(&(player, append.raid)))
                .collect::<Result<_>>()?,
        })
    }
}

fn creation(append: &Append) -> Result<Option<CreationRow>> {
    let Some(creation) = RaidCreation::of(append) else {
        return Ok(None);
    };
    let leader = Leadership::of(append).and_then(Leadership::leader);
    let row = json_row(&(
        append.raid,
        append.created_month.0,
        creation.title,
        creation.invite_code,
        append.creation.map(|terms| hex(terms.key.0)),
        creation.target_xp,
        creation.target_tasks,
        creation.time_limit_secs,
        creation.created_at,
        hex(append.owner.0.into_bytes()),
        append.epoch.0,
        leader,
    ))?;
    Ok(Some(CreationRow {
        row,
        leader: leader.map(i64::from),
        led_raids_max: append.creation.and_then(|terms| terms.led_raids_max),
    }))
}

fn header(append: &Append) -> Result<String> {
    let header = &append.header;
    json_row(&(
        append.raid,
        hex(append.owner.0.into_bytes()),
        append.epoch.0,
        append.first_seq().0 - 1, // cannot underflow: the batch is validated
        append.last_seq(),
        header.status,
        header.deadline,
        header.current_xp,
        header.current_tasks,
        header.ended_at,
        effects::rotated_invite_code(append),
        Leadership::of(append).map(Leadership::argument),
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

/// Returns the row for the erasures' `REWRITE_EVENTS`, which gives an event of the ledger new data.
pub(in super::super) fn rewritten_row(event: &Event) -> Result<String> {
    json_row(&(event.seq, data(&event.data)?))
}

/// Encodes an event's data as JSON text, without its type.
fn data(data: &EventData) -> Result<String> {
    let tagged = serde_json::to_value(data).map_err(|error| refused("encode event", error))?;
    Ok(tagged["data"].to_string())
}

fn json_row(columns: &impl Serialize) -> Result<String> {
    serde_json::to_string(columns).map_err(|error| refused("encode row", error))
}

pub(in super::super) fn hex(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}
