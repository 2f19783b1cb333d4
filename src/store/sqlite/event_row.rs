//! Events as rows of the ledger.

use raidhall_protocol::event::EVENT_VERSION;
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq, UnixMillis};

use super::fault::{refused, unsigned};
use crate::progression::DefinitionsNumber;
use crate::store::{CommittedEvent, Result, StoreError};

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
    /// Decodes the event, with its raid and the number of its definitions.
    pub(super) fn decode_committed(
        self,
        raid: i64,
        definitions: Option<u32>,
    ) -> Result<CommittedEvent> {
        let raid = RaidId::try_from(raid);
        Ok(CommittedEvent {
            raid: raid.map_err(|error| refused(OPERATION, error))?,
            event: self.decode()?,
            definitions: definitions.map(DefinitionsNumber).unwrap_or_default(),
        })
    }

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
