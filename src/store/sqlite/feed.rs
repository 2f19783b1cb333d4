//! The feed: all raids' events in the order in which they were written. There is one writer at a
//! time, so that is the order of their commits.

use async_trait::async_trait;

use super::SqliteStore;
use super::event_row::EventRow;
use super::fault::{failed, unsigned};
use super::statements::statements;
use crate::store::Result;
use crate::store::feed::{Feed, FeedBatch, FeedCursor};

const OPERATION: &str = "read the feed";

statements! {
    /// Each row has the lineage; if there are no events, a single row has it alone.
    FEED =
        "SELECT m.value AS lineage, e.position, e.raid_id, e.seq, e.at, e.\"by\", e.version, e.kind, e.data, ",
        "    e.definitions ",
        "FROM meta m LEFT JOIN (",
        "    SELECT position, raid_id, seq, at, \"by\", version, kind, data, definitions FROM raid_events ",
        "    WHERE position > ?1 ORDER BY position LIMIT ?2",
        ") e ON true ",
        "WHERE m.key = 'lineage' ORDER BY e.position";
    FEED_END =
        "SELECT value, (SELECT coalesce(max(position), 0) FROM raid_events) FROM meta WHERE key = 'lineage'";
}

#[derive(sqlx::FromRow)]
struct FeedRow {
    lineage: String,
    position: Option<i64>,
    raid_id: Option<i64>,
    seq: Option<i64>,
    at: Option<i64>,
    by: Option<i64>,
    version: Option<i64>,
    kind: Option<String>,
    data: Option<String>,
    definitions: Option<u32>,
}

#[async_trait]
impl Feed for SqliteStore {
    async fn read_feed(&self, after: FeedCursor, limit: u32) -> Result<FeedBatch> {
        let position = i64::try_from(after.commit).unwrap_or(i64::MAX);
        let rows = sqlx::query_as(FEED)
            .bind(position)
            .bind(limit)
            .fetch_all(&self.readers)
            .await;
        let rows: Vec<FeedRow> = rows.map_err(failed(OPERATION))?;
        let mut fed = FeedBatch {
            lineage: String::new(),
            events: Vec::new(),
            next: after,
        };
        for row in rows {
            fed.lineage.clone_from(&row.lineage);
            let definitions = row.definitions;
            let Some((position, raid, event)) = row.into_event_row() else {
                continue;
            };
            fed.next = FeedCursor {
                commit: unsigned(OPERATION, position)?,
                ..FeedCursor::default()
            };
            fed.events.push(event.decode_committed(raid, definitions)?);
        }
        Ok(fed)
    }

    async fn feed_end(&self) -> Result<(String, FeedCursor)> {
        const OPERATION: &str = "find the feed's end";
        let end = sqlx::query_as(FEED_END).fetch_one(&self.readers).await;
        let (lineage, position): (String, i64) = end.map_err(failed(OPERATION))?;
        Ok((
            lineage,
            FeedCursor {
                commit: unsigned(OPERATION, position)?,
                ..FeedCursor::default()
            },
        ))
    }
}

impl FeedRow {
    fn into_event_row(self) -> Option<(i64, i64, EventRow)> {
        let seq = self.seq?;
        let at = self.at?;
        let version = self.version?;
        let event = EventRow {
            seq,
            at,
            by: self.by,
            version,
            kind: self.kind?,
            data: self.data?,
        };
        Some((self.position?, self.raid_id?, event))
    }
}
