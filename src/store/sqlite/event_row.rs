//! Events as rows of the ledger.

use raidhall_protocol::event::EVENT_VERSION;
use raidhall_protocol::{Event, EventData, PlayerId, Seq, UnixMillis};

use super::fault::{refused, unsigned};
use crate::store::{Result, StoreError};

const OPERATION: &str = "decode event";

/// Columns of the ledger that make up an event.
#[derive(sqlx::FromRow)]
pub(super) struct EventRow {
    pub(super) seq: i64,
    pub(super) at: i64,
    pub(super) by: Option<i64>,
    pub(super) version: i64,
    pub(super) kind: String,
    pub(super) data: String,
}

impl EventRow {
    /// Decodes the event; fails if a newer release wrote it or the row is damaged.
    pub(super) fn decode(self) -> Result<Event> {
        if self.version > i64::from(EVENT_VERSION) {
            return Err(StoreError::NewerVersion {
                version: u16::try_from(self.version).unwrap_or(u16::MAX),
            });
        }
        // The kind is a name that needs no escaping in JSON.
        let tagged = format!(r#"{{"type":"{}","data":{}}}"#, self.kind, self.data);
        let data: EventData =
            serde_json::from_str(&tagged).map_err(|error| refused(OPERATION, error))?;
        Ok(Event {
            seq: Seq(unsigned(OPERATION, self.seq)?),
            at: UnixMillis(self.at),
            by: self
                .by
                .map(PlayerId::try_from)
                .transpose()
                .map_err(|error| refused(OPERATION, error))?,
            data,
        })
    }
}
