//! Webhook deliveries: the endpoints' progress, and parked deliveries.

use async_trait::async_trait;
use raidhall_protocol::{RaidId, Seq, UnixMillis};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::SqliteStore;
use super::audit::insert_audit_entry;
use super::fault::{failed, refused, unsigned};
use super::statements::{now, statements};
use crate::store::webhooks::{
    COUNT_MAX, EndpointProgress, EndpointRow, FailedAttempt, ParkedDelivery, ProgressUpdate,
    Replay, WebhookDeliveries,
};
use crate::store::{Feed, FeedCursor, InstanceId, NewAuditEntry, Result};

statements! {
    ACQUIRE_ENDPOINT =
        "UPDATE webhook_endpoints SET owner = ?2 ",
        "WHERE name = ?1 AND (owner IS NULL OR owner = ?2 OR NOT EXISTS ",
        "    (SELECT 1 FROM instances WHERE instances.id = owner AND lease_until > ", now!(), ")) ",
        "RETURNING lineage, place_commit, paused";
    CREATE_ENDPOINT =
        "INSERT INTO webhook_endpoints (name, lineage, place_commit) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    RELEASE_ENDPOINT = "UPDATE webhook_endpoints SET owner = NULL WHERE name = ?1 AND owner = ?2";
    UPDATE_PROGRESS =
        "UPDATE webhook_endpoints SET lineage = coalesce(?3, lineage), place_commit = coalesce(?4, place_commit), ",
        "    paused = coalesce(?5, paused) WHERE name = ?1 AND owner = ?2";
    DELETE_SETTLED = "DELETE FROM webhook_deliveries WHERE id = ?1";
    PARK_DELIVERY =
        "INSERT INTO webhook_deliveries (endpoint, raid_id, seq, attempts, next_at, error, first_failed_at) ",
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ",
        "ON CONFLICT (endpoint, raid_id, seq) DO UPDATE ",
        "SET attempts = excluded.attempts, next_at = excluded.next_at, error = excluded.error";
    DUE_DELIVERIES =
        "SELECT id, raid_id, seq, attempts, next_at, error, first_failed_at FROM webhook_deliveries ",
        "WHERE endpoint = ?1 AND next_at <= ?3 ORDER BY next_at LIMIT ?2";
    WAITING_DELIVERIES =
        "SELECT id, raid_id, seq, attempts, next_at, error, first_failed_at FROM webhook_deliveries ",
        "WHERE endpoint = ?1 AND id > ?2 AND next_at IS NOT NULL ORDER BY id LIMIT ?3";
    DEAD_DELIVERIES =
        "SELECT id, raid_id, seq, attempts, next_at, error, first_failed_at FROM webhook_deliveries ",
        "WHERE endpoint = ?1 AND id > ?2 AND next_at IS NULL ORDER BY id LIMIT ?3";
    ENDPOINTS =
        "SELECT name, owner, paused, ",
        "    (SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries ",
        "        WHERE endpoint = name AND next_at IS NOT NULL LIMIT ?1)), ",
        "    (SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries ",
        "        WHERE endpoint = name AND next_at IS NULL LIMIT ?1)) ",
        "FROM webhook_endpoints ORDER BY name";
    REPLAY_ONE =
        "INSERT INTO webhook_deliveries (endpoint, raid_id, seq, attempts, next_at, error, first_failed_at) ",
        "VALUES (?1, ?2, ?3, 0, ?4, 'to be replayed', ?4) ",
        "ON CONFLICT (endpoint, raid_id, seq) DO UPDATE SET attempts = 0, next_at = excluded.next_at";
    REPLAY_DEAD =
        "UPDATE webhook_deliveries SET attempts = 0, next_at = ?3 WHERE id IN ",
        "    (SELECT id FROM webhook_deliveries WHERE endpoint = ?1 AND next_at IS NULL ORDER BY id LIMIT ?2)";
    RESUME_ENDPOINT = "UPDATE webhook_endpoints SET paused = NULL WHERE name = ?1 AND paused IS NOT NULL";
}

type ParkedColumns = (i64, i64, i64, u32, Option<i64>, String, i64);

#[async_trait]
impl WebhookDeliveries for SqliteStore {
    async fn acquire_endpoint(
        &self,
        name: &str,
        instance: InstanceId,
    ) -> Result<Option<EndpointProgress>> {
        const OPERATION: &str = "take a webhook endpoint";
        let (lineage, place) = self.feed_end().await?;
        let name = name.to_owned();
        let take = self.writer.write(OPERATION, move |transaction| {
            Box::pin(async move {
                let failed = failed(OPERATION);
                let commit = i64::try_from(place.commit).unwrap_or(i64::MAX);
                let make = sqlx::query(CREATE_ENDPOINT)
                    .bind(&name)
                    .bind(lineage)
                    .bind(commit);
                make.execute(&mut *transaction).await.map_err(&failed)?;
                let take = sqlx::query_as(ACQUIRE_ENDPOINT).bind(name).bind(instance.0);
                let row: Option<(String, i64, Option<String>)> = take
                    .fetch_optional(&mut *transaction)
                    .await
                    .map_err(&failed)?;
                let progress = |(lineage, commit, pause_reason)| {
                    let cursor = FeedCursor {
                        commit: unsigned(OPERATION, commit)?,
                        ..FeedCursor::default()
                    };
                    Ok(EndpointProgress {
                        lineage,
                        cursor,
                        pause_reason,
                    })
                };
                row.map(progress).transpose()
            })
        });
        take.await
    }

    async fn release_endpoint(&self, name: &str, instance: InstanceId) -> Result<()> {
        const OPERATION: &str = "release a webhook endpoint";
        let name = name.to_owned();
        let release = self.writer.write(OPERATION, move |transaction| {
            Box::pin(async move {
                let release = sqlx::query(RELEASE_ENDPOINT).bind(name).bind(instance.0);
                release
                    .execute(&mut *transaction)
                    .await
                    .map(drop)
                    .map_err(failed(OPERATION))
            })
        });
        release.await
    }

    async fn save_progress(
        &self,
        name: &str,
        instance: InstanceId,
        progress: &ProgressUpdate,
    ) -> Result<bool> {
        let name = name.to_owned();
        let progress = progress.clone();
        let note = self
            .writer
            .write("save webhook progress", move |transaction| {
                Box::pin(
                    async move { save_progress(transaction, &name, instance, &progress).await },
                )
            });
        note.await
    }

    async fn due_deliveries(
        &self,
        name: &str,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<ParkedDelivery>> {
        let due = sqlx::query_as(DUE_DELIVERIES)
            .bind(name)
            .bind(limit)
            .bind(now.0)
            .fetch_all(&self.readers);
        parked_deliveries(due.await.map_err(failed("read due webhook deliveries"))?)
    }

    async fn parked_deliveries(
        &self,
        name: &str,
        dead: bool,
        after: u64,
        limit: u32,
    ) -> Result<Vec<ParkedDelivery>> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let read = if dead {
            sqlx::query_as(DEAD_DELIVERIES)
        } else {
            sqlx::query_as(WAITING_DELIVERIES)
        };
        let read = read
            .bind(name)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.readers);
        parked_deliveries(
            read.await
                .map_err(failed("read parked webhook deliveries"))?,
        )
    }

    async fn endpoints(&self) -> Result<Vec<EndpointRow>> {
        const OPERATION: &str = "read webhook endpoints";
        let read = sqlx::query_as(ENDPOINTS)
            .bind(COUNT_MAX)
            .fetch_all(&self.readers);
        let rows: Vec<(String, Option<Uuid>, Option<String>, i64, i64)> =
            read.await.map_err(failed(OPERATION))?;
        let row = |(name, owner, pause_reason, waiting, dead): (_, Option<Uuid>, _, _, _)| {
            let waiting = unsigned(OPERATION, waiting)?;
            let dead = unsigned(OPERATION, dead)?;
            Ok(EndpointRow {
                name,
                owner: owner.map(InstanceId),
                pause_reason,
                waiting,
                dead,
            })
        };
        rows.into_iter().map(row).collect()
    }

    async fn replay_deliveries(
        &self,
        name: &str,
        what: Replay,
        entry: &NewAuditEntry,
    ) -> Result<u64> {
        let name = name.to_owned();
        let entry = entry.clone();
        let replay = self
            .writer
            .write("replay webhook deliveries", move |transaction| {
                Box::pin(async move { replay_deliveries(transaction, &name, what, &entry).await })
            });
        replay.await
    }

    async fn resume_endpoint(&self, name: &str, entry: &NewAuditEntry) -> Result<bool> {
        let name = name.to_owned();
        let entry = entry.clone();
        let resume = self
            .writer
            .write("resume a webhook endpoint", move |transaction| {
                Box::pin(async move {
                    let failed = failed("resume a webhook endpoint");
                    let resume = sqlx::query(RESUME_ENDPOINT)
                        .bind(name)
                        .execute(&mut *transaction);
                    if resume.await.map_err(&failed)?.rows_affected() == 0 {
                        return Ok(false);
                    }
                    insert_audit_entry(transaction, &entry).await?;
                    Ok(true)
                })
            });
        resume.await
    }
}

async fn save_progress(
    transaction: &mut SqliteConnection,
    name: &str,
    instance: InstanceId,
    progress: &ProgressUpdate,
) -> Result<bool> {
    let failed = failed("save webhook progress");
    let ProgressUpdate {
        cursor,
        settled_ids: settled,
        failed_attempts: parked,
        pause_reason: paused,
    } = progress;
    let (lineage, place) = cursor.clone().unzip();
    let commit = place.map(|place| i64::try_from(place.commit).unwrap_or(i64::MAX));
    let moved = sqlx::query(UPDATE_PROGRESS)
        .bind(name)
        .bind(instance.0)
        .bind(lineage)
        .bind(commit)
        .bind(paused);
    if moved
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?
        .rows_affected()
        == 0
    {
        return Ok(false);
    }
    for id in settled {
        let id = i64::try_from(*id).unwrap_or(i64::MAX);
        sqlx::query(DELETE_SETTLED)
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
    }
    for one in parked {
        park_delivery(transaction, name, one).await?;
    }
    Ok(true)
}

async fn park_delivery(
    connection: &mut SqliteConnection,
    name: &str,
    failed_try: &FailedAttempt,
) -> Result<()> {
    const OPERATION: &str = "park a webhook delivery";
    let FailedAttempt {
        raid,
        seq,
        at,
        attempts,
        next_at,
        error,
    } = failed_try;
    let seq = i64::try_from(seq.0).map_err(|error| refused(OPERATION, error))?;
    let park = sqlx::query(PARK_DELIVERY)
        .bind(name)
        .bind(i64::from(*raid))
        .bind(seq)
        .bind(attempts)
        .bind(next_at.map(|at| at.0))
        .bind(error)
        .bind(at.0)
        .execute(connection);
    park.await.map(drop).map_err(failed(OPERATION))
}

async fn replay_deliveries(
    transaction: &mut SqliteConnection,
    name: &str,
    what: Replay,
    entry: &NewAuditEntry,
) -> Result<u64> {
    const OPERATION: &str = "replay webhook deliveries";
    let failed = failed(OPERATION);
    let replay = match what {
        Replay::Event(raid, seq) => {
            let seq = i64::try_from(seq.0).map_err(|error| refused(OPERATION, error))?;
            sqlx::query(REPLAY_ONE)
                .bind(name)
                .bind(i64::from(raid))
                .bind(seq)
        }
        Replay::Dead => sqlx::query(REPLAY_DEAD).bind(name).bind(COUNT_MAX),
    }
    .bind(entry.at.0);
    let count = replay
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?
        .rows_affected();
    insert_audit_entry(transaction, entry).await?;
    Ok(count)
}

fn parked_deliveries(rows: Vec<ParkedColumns>) -> Result<Vec<ParkedDelivery>> {
    const OPERATION: &str = "read webhook deliveries";
    let row = |(id, raid, seq, attempts, next_at, error, first_failed_at): ParkedColumns| {
        Ok(ParkedDelivery {
            id: unsigned(OPERATION, id)?,
            raid: RaidId::try_from(unsigned(OPERATION, raid)?)
                .map_err(|error| refused(OPERATION, error))?,
            seq: Seq(unsigned(OPERATION, seq)?),
            attempts,
            next_at: next_at.map(UnixMillis),
            error,
            first_failed_at: UnixMillis(first_failed_at),
        })
    };
    rows.into_iter().map(row).collect()
}
