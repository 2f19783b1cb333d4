//! The feed: all raids' events in the order of their transactions.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::PostgresStore;
use super::columns::{clamped, committed_event, number};
use crate::store::Result;
use crate::store::feed::{Feed, FeedBatch, FeedCursor, OpenTransaction};

/// Reads only below the oldest transaction in flight: nothing can be committed there any more. (An
/// event of a later transaction may be committed already; a later call returns it.) The plan reads
/// the index of each partition from the cursor on.
const FEED: &str = "
    SELECT m.value AS lineage, e.tx::text::bigint AS tx, e.raid_id, e.seq, e.at, e.by, e.kind, e.version, e.data,
        e.definitions
    FROM meta m LEFT JOIN LATERAL (
        SELECT tx, raid_id, seq, at, by, kind, version, data::text AS data, definitions
        FROM raid_events
        WHERE (tx, raid_id, seq) > ($1::text::xid8, $2, $3) AND tx < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY tx, raid_id, seq
        LIMIT $4
    ) e ON true
    WHERE m.key = 'lineage'
    ORDER BY e.tx, e.raid_id, e.seq";

const FEED_END: &str = "
    SELECT value AS lineage, pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1 AS tx
    FROM meta WHERE key = 'lineage'";

/// Returns nothing if no transaction has ended after the oldest open one: then the feed lacks
/// nothing.
const OLDEST_OPEN_TRANSACTION: &str = "
    SELECT s.xmin::text::bigint AS id, a.pid, COALESCE(a.datname, p.database)::text AS database
    FROM (SELECT pg_snapshot_xmin(c) AS xmin, pg_snapshot_xmax(c) AS xmax FROM pg_current_snapshot() AS c) AS s
    LEFT JOIN pg_stat_activity a ON a.backend_xid = s.xmin::xid
    LEFT JOIN pg_prepared_xacts p ON p.transaction = s.xmin::xid
    WHERE s.xmin < s.xmax
    LIMIT 1";

#[async_trait]
impl Feed for PostgresStore {
    async fn read_feed(&self, after: FeedCursor, limit: u32) -> Result<FeedBatch> {
        const OPERATION: &str = "read the feed";
        let statement = sqlx::query(FEED)
            .bind(after.commit.to_string())
            .bind(clamped(after.raid))
            .bind(clamped(after.seq))
            .bind(i64::from(limit));
        let rows = self.general_pool.fetch_rows(OPERATION, statement).await?;
        feed_batch(&rows, after).map_err(|error| super::fault::from_sqlx(OPERATION, error))
    }

    async fn feed_end(&self) -> Result<(String, FeedCursor)> {
        let end =
            self.general_pool
                .fetch_one("find the feed's end", sqlx::query(FEED_END), |row| {
                    let place = FeedCursor {
                        commit: number(row, "tx")?,
                        raid: u64::MAX,
                        seq: u64::MAX,
                    };
                    Ok((row.try_get("lineage")?, place))
                });
        end.await
    }

    async fn oldest_open_transaction(&self) -> Result<Option<OpenTransaction>> {
        let statement = sqlx::query(OLDEST_OPEN_TRANSACTION);
        self.general_pool
            .fetch_optional("find the oldest open transaction", statement, |row| {
                Ok(OpenTransaction {
                    id: number(row, "id")?,
                    pid: row.try_get("pid")?,
                    database: row.try_get("database")?,
                })
            })
            .await
    }
}

fn feed_batch(rows: &[PgRow], after: FeedCursor) -> sqlx::Result<FeedBatch> {
    let lineage = rows
        .first()
        .ok_or(sqlx::Error::RowNotFound)?
        .try_get("lineage")?;
    let mut events = Vec::new();
    let mut next = after;
    for row in rows {
        if row.try_get::<Option<i64>, _>("raid_id")?.is_none() {
            continue;
        }
        let fed = committed_event(row)?;
        next = FeedCursor {
            commit: number(row, "tx")?,
            raid: fed.raid.get(),
            seq: fed.event.seq.0,
        };
        events.push(fed);
    }
    Ok(FeedBatch {
        lineage,
        events,
        next,
    })
}
