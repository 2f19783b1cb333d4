//! Webhook deliveries: the endpoints' progress, and parked deliveries.

use async_trait::async_trait;
use raidhall_protocol::UnixMillis;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::PostgresStore;
use super::audit::bind_audit_entry;
use super::columns::{bigint, clamped, instance, number, raid as raid_id, seq};
use crate::store::webhooks::{
    COUNT_MAX, EndpointProgress, EndpointRow, ParkedDelivery, ProgressUpdate, Replay,
    WebhookDeliveries,
};
use crate::store::{Feed, FeedCursor, InstanceId, NewAuditEntry, Result};

const ACQUIRE_ENDPOINT: &str = "
    UPDATE webhook_endpoints e SET owner = $2
    WHERE e.name = $1 AND (e.owner IS NULL OR e.owner = $2 OR NOT EXISTS (
        SELECT FROM instances i WHERE i.id = e.owner AND i.lease_until > clock_timestamp()))
    RETURNING lineage, place_commit, place_raid, place_seq, paused";

const CREATE_ENDPOINT: &str = "
    INSERT INTO webhook_endpoints (name, lineage, place_commit, place_raid, place_seq) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING";

const RELEASE_ENDPOINT: &str =
    "UPDATE webhook_endpoints SET owner = NULL WHERE name = $1 AND owner = $2";

const SAVE_PROGRESS: &str = "
    WITH mine AS (
        UPDATE webhook_endpoints
        SET lineage = coalesce($3, lineage), place_commit = coalesce($4, place_commit),
            place_raid = coalesce($5, place_raid), place_seq = coalesce($6, place_seq), paused = coalesce($7, paused)
        WHERE name = $1 AND owner = $2
        RETURNING name
    ), settled AS (
        DELETE FROM webhook_deliveries WHERE id = ANY ($8::bigint[]) AND EXISTS (SELECT FROM mine)
    ), parked AS (
        INSERT INTO webhook_deliveries (endpoint, raid_id, seq, attempts, next_at, error, first_failed_at)
        SELECT $1, f.raid, f.seq, f.attempts, f.next_at, f.error, f.at
        FROM unnest($9::bigint[], $10::bigint[], $11::integer[], $12::bigint[], $13::text[], $14::bigint[])
            AS f (raid, seq, attempts, next_at, error, at)
        WHERE EXISTS (SELECT FROM mine)
        ON CONFLICT (endpoint, raid_id, seq) DO UPDATE
        SET attempts = excluded.attempts, next_at = excluded.next_at, error = excluded.error
    )
    SELECT count(*) FROM mine";

const DUE_DELIVERIES: &str = "
    SELECT id, raid_id, seq, attempts, next_at, error, first_failed_at FROM webhook_deliveries
    WHERE endpoint = $1 AND next_at <= $3
    ORDER BY next_at LIMIT $2";

const WAITING_DELIVERIES: &str = "
    SELECT id, raid_id, seq, attempts, next_at, error, first_failed_at FROM webhook_deliveries
    WHERE endpoint = $1 AND id > $2 AND next_at IS NOT NULL ORDER BY id LIMIT $3";

const DEAD_DELIVERIES: &str = "
    SELECT id, raid_id, seq, attempts, next_at, error, first_failed_at FROM webhook_deliveries
    WHERE endpoint = $1 AND id > $2 AND next_at IS NULL ORDER BY id LIMIT $3";

const ENDPOINTS: &str = "
    SELECT e.name, e.owner, e.paused, w.count AS waiting, d.count AS dead
    FROM webhook_endpoints e
    CROSS JOIN LATERAL (SELECT count(*) FROM (
        SELECT FROM webhook_deliveries WHERE endpoint = e.name AND next_at IS NOT NULL LIMIT $1) AS one) w
    CROSS JOIN LATERAL (SELECT count(*) FROM (
        SELECT FROM webhook_deliveries WHERE endpoint = e.name AND next_at IS NULL LIMIT $1) AS one) d
    ORDER BY e.name";

const REPLAY_ONE: &str = "
    WITH again AS (
        INSERT INTO webhook_deliveries (endpoint, raid_id, seq, attempts, next_at, error, first_failed_at)
        SELECT $1, $2, $3, 0, $9, 'to be replayed', $9
        ON CONFLICT (endpoint, raid_id, seq) DO UPDATE SET attempts = 0, next_at = excluded.next_at
        RETURNING id
    ), recorded AS (
        INSERT INTO audit_log (at, actor, action, target, request_id, details)
        SELECT $9, $4, $5, $6, $7, $8::text::jsonb
    )
    SELECT count(*) FROM again";

const REPLAY_DEAD: &str = "
    WITH again AS (
        UPDATE webhook_deliveries
        SET attempts = 0, next_at = $8
        WHERE id = ANY (ARRAY(
            SELECT id FROM webhook_deliveries WHERE endpoint = $1 AND next_at IS NULL ORDER BY id LIMIT $2))
        RETURNING id
    ), recorded AS (
        INSERT INTO audit_log (at, actor, action, target, request_id, details)
        SELECT $8, $3, $4, $5, $6, $7::text::jsonb
    )
    SELECT count(*) FROM again";

const RESUME_ENDPOINT: &str = "
    WITH resumed AS (
        UPDATE webhook_endpoints SET paused = NULL WHERE name = $1 AND paused IS NOT NULL RETURNING name
    ), recorded AS (
        INSERT INTO audit_log (at, actor, action, target, request_id, details)
        SELECT $7, $2, $3, $4, $5, $6::text::jsonb FROM resumed
    )
    SELECT count(*) FROM resumed";

#[async_trait]
impl WebhookDeliveries for PostgresStore {
    async fn acquire_endpoint(
        &self,
        name: &str,
        instance: InstanceId,
    ) -> Result<Option<EndpointProgress>> {
        const OPERATION: &str = "take a webhook endpoint";
        let take = || {
            let statement = sqlx::query(ACQUIRE_ENDPOINT)
                .bind(name.to_owned())
                .bind(instance.0);
            self.general_pool
                .fetch_optional(OPERATION, statement, endpoint_progress)
        };
        if let Some(taken) = take().await? {
            return Ok(Some(taken));
        }
        let (lineage, FeedCursor { commit, raid, seq }) = self.feed_end().await?;
        let make = sqlx::query(CREATE_ENDPOINT)
            .bind(name.to_owned())
            .bind(lineage);
        let make = make
            .bind(clamped(commit))
            .bind(clamped(raid))
            .bind(clamped(seq));
        self.general_pool.fetch_rows(OPERATION, make).await?;
        take().await
    }

    async fn release_endpoint(&self, name: &str, instance: InstanceId) -> Result<()> {
        let statement = sqlx::query(RELEASE_ENDPOINT)
            .bind(name.to_owned())
            .bind(instance.0);
        self.general_pool
            .fetch_rows("release a webhook endpoint", statement)
            .await
            .map(drop)
    }

    async fn save_progress(
        &self,
        name: &str,
        instance: InstanceId,
        progress: &ProgressUpdate,
    ) -> Result<bool> {
        let ProgressUpdate {
            cursor,
            settled_ids,
            failed_attempts,
            pause_reason,
        } = progress;
        let (lineage, place) = cursor.clone().unzip();
        let statement = sqlx::query(SAVE_PROGRESS)
            .bind(name.to_owned())
            .bind(instance.0)
            .bind(lineage)
            .bind(place.map(|place| clamped(place.commit)))
            .bind(place.map(|place| clamped(place.raid)))
            .bind(place.map(|place| clamped(place.seq)))
            .bind(pause_reason.clone())
            .bind(
                settled_ids
                    .iter()
                    .map(|id| clamped(*id))
                    .collect::<Vec<_>>(),
            )
            .bind(
                failed_attempts
                    .iter()
                    .map(|failed| i64::from(failed.raid))
                    .collect::<Vec<_>>(),
            )
            .bind(
                failed_attempts
                    .iter()
                    .map(|failed| clamped(failed.seq.0))
                    .collect::<Vec<_>>(),
            )
            .bind(
                failed_attempts
                    .iter()
                    .map(|failed| failed.attempts.cast_signed())
                    .collect::<Vec<_>>(),
            )
            .bind(
                failed_attempts
                    .iter()
                    .map(|failed| failed.next_at.map(|at| at.0))
                    .collect::<Vec<_>>(),
            )
            .bind(
                failed_attempts
                    .iter()
                    .map(|failed| failed.error.clone())
                    .collect::<Vec<_>>(),
            )
            .bind(
                failed_attempts
                    .iter()
                    .map(|failed| failed.at.0)
                    .collect::<Vec<_>>(),
            );
        Ok(self
            .general_pool
            .fetch_count("save webhook progress", statement)
            .await?
            > 0)
    }

    async fn due_deliveries(
        &self,
        name: &str,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<ParkedDelivery>> {
        let statement = sqlx::query(DUE_DELIVERIES)
            .bind(name.to_owned())
            .bind(i64::from(limit))
            .bind(now.0);
        self.general_pool
            .fetch_all("read due webhook deliveries", statement, parked_delivery)
            .await
    }

    async fn parked_deliveries(
        &self,
        name: &str,
        dead: bool,
        after: u64,
        limit: u32,
    ) -> Result<Vec<ParkedDelivery>> {
        let statement = if dead {
            sqlx::query(DEAD_DELIVERIES)
        } else {
            sqlx::query(WAITING_DELIVERIES)
        };
        let statement = statement
            .bind(name.to_owned())
            .bind(clamped(after))
            .bind(i64::from(limit));
        self.general_pool
            .fetch_all("read parked webhook deliveries", statement, parked_delivery)
            .await
    }

    async fn endpoints(&self) -> Result<Vec<EndpointRow>> {
        let statement = sqlx::query(ENDPOINTS).bind(i64::from(COUNT_MAX));
        self.general_pool
            .fetch_all("read webhook endpoints", statement, endpoint_row)
            .await
    }

    async fn replay_deliveries(
        &self,
        name: &str,
        what: Replay,
        entry: &NewAuditEntry,
    ) -> Result<u64> {
        const OPERATION: &str = "replay webhook deliveries";
        let statement = match what {
            Replay::Event(raid, seq) => {
                let seq = bigint(seq.0).map_err(|error| super::fault::refused(OPERATION, error))?;
                sqlx::query(REPLAY_ONE)
                    .bind(name.to_owned())
                    .bind(i64::from(raid))
                    .bind(seq)
            }
            Replay::Dead => sqlx::query(REPLAY_DEAD)
                .bind(name.to_owned())
                .bind(i64::from(COUNT_MAX)),
        };
        self.general_pool
            .fetch_count(OPERATION, bind_audit_entry(statement, entry))
            .await
    }

    async fn resume_endpoint(&self, name: &str, entry: &NewAuditEntry) -> Result<bool> {
        let statement = bind_audit_entry(sqlx::query(RESUME_ENDPOINT).bind(name.to_owned()), entry);
        Ok(self
            .general_pool
            .fetch_count("resume a webhook endpoint", statement)
            .await?
            > 0)
    }
}

fn endpoint_progress(row: &PgRow) -> sqlx::Result<EndpointProgress> {
    let place = FeedCursor {
        commit: number(row, "place_commit")?,
        raid: number(row, "place_raid")?,
        seq: number(row, "place_seq")?,
    };
    Ok(EndpointProgress {
        lineage: row.try_get("lineage")?,
        cursor: place,
        pause_reason: row.try_get("paused")?,
    })
}

fn parked_delivery(row: &PgRow) -> sqlx::Result<ParkedDelivery> {
    Ok(ParkedDelivery {
        id: number(row, "id")?,
        raid: raid_id(row, "raid_id")?,
        seq: seq(row, "seq")?,
        attempts: row.try_get::<i32, _>("attempts")?.cast_unsigned(),
        next_at: row.try_get::<Option<i64>, _>("next_at")?.map(UnixMillis),
        error: row.try_get("error")?,
        first_failed_at: UnixMillis(row.try_get("first_failed_at")?),
    })
}

fn endpoint_row(row: &PgRow) -> sqlx::Result<EndpointRow> {
    Ok(EndpointRow {
        name: row.try_get("name")?,
        owner: instance(row, "owner")?,
        pause_reason: row.try_get("paused")?,
        waiting: number(row, "waiting")?,
        dead: number(row, "dead")?,
    })
}
