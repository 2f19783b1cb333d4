//! An event as the ledger keeps it.

use super::super::fault::{refused, whole};
use crate::store::{Result, StoreError};
use anyhow::anyhow;
use raidhall_protocol::event::EVENT_VERSION;
use raidhall_protocol::{Event, EventData, PlayerId, Seq, UnixMillis};

const OPERATION: &str = "decode event";

/// The columns of an event that make it up.
#[derive(sqlx::FromRow)]
pub(super) struct LedgerRow {
    seq: i64,
    at: i64,
    by: Option<i64>,
    version: i64,
    kind: String,
    data: String,
}

impl LedgerRow {
    /// The event. Refused when a newer release wrote it, or when it is damaged.
    pub(super) fn decode(self) -> Result<Event> {
        if self.version > i64::from(EVENT_VERSION) {
            let (seq, version) = (self.seq, self.version);
            let source = anyhow!("event {seq}: version {version} is newer than this release");
            return Err(StoreError::Refused { operation: OPERATION, source });
        }
        // Kinds are names that need no quoting.
        let tagged = format!(r#"{{"type":"{}","data":{}}}"#, self.kind, self.data);
        let data: EventData = serde_json::from_str(&tagged).map_err(|error| refused(OPERATION, error))?;
        Ok(Event {
            seq: Seq(whole(OPERATION, self.seq)?),
            at: UnixMillis(self.at),
            by: self.by.map(PlayerId::try_from).transpose().map_err(|error| refused(OPERATION, error))?,
            data,
        })
    }
}
