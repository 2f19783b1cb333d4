//! Webhook endpoints, and what they did not take.

use async_trait::async_trait;
use raidhall_protocol::{RaidId, Seq, UnixMillis};
use sqlx::{Connection, SqliteConnection};
use uuid::Uuid;

use super::SqliteStore;
use super::audit::record;
use super::fault::{failed, refused, whole};
use super::leases::millis;
use super::statements::{now, statements};
use super::writer::{Hand, Lane};
use crate::store::webhooks::{
    COUNTED, Cursor, EndpointRow, Failed, Parked, Progress, Replay, Webhooks,
};
use crate::store::{Deed, Feed, InstanceId, Place, Result};

statements! {
    TAKE =
        "UPDATE webhook_endpoints SET owner = ?2 ",
        "WHERE name = ?1 AND (owner IS NULL OR owner = ?2 OR NOT EXISTS ",
        "    (SELECT 1 FROM instances WHERE instances.id = owner AND lease_until > ", now!(), ")) ",
        "RETURNING lineage, place_commit, paused";
    MAKE =
        "INSERT INTO webhook_endpoints (name, lineage, place_commit) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    RELEASE = "UPDATE webhook_endpoints SET owner = NULL WHERE name = ?1 AND owner = ?2";
    MOVE =
        "UPDATE webhook_endpoints SET lineage = coalesce(?3, lineage), place_commit = coalesce(?4, place_commit), ",
        "    paused = coalesce(?5, paused) WHERE name = ?1 AND owner = ?2";
    SETTLE = "DELETE FROM webhook_deliveries WHERE id = ?1";
    PARK =
        "INSERT INTO webhook_deliveries (endpoint, raid_id, seq, attempts, next_at, error, first_failed_at) ",
        "VALUES (?1, ?2, ?3, ?4, ", now!(), " + ?5, ?6, ", now!(), ") ",
        "ON CONFLICT (endpoint, raid_id, seq) DO UPDATE ",
        "SET attempts = excluded.attempts, next_at = excluded.next_at, error = excluded.error";
    DUE =
        "SELECT id, raid_id, seq, attempts, next_at, error, first_failed_at FROM webhook_deliveries ",
        "WHERE endpoint = ?1 AND next_at <= ", now!(), " ORDER BY next_at LIMIT ?2";
    WAITING =
        "SELECT id, raid_id, seq, attempts, next_at, error, first_failed_at FROM webhook_deliveries ",
        "WHERE endpoint = ?1 AND id > ?2 AND next_at IS NOT NULL ORDER BY id LIMIT ?3";
    DEAD =
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
        "VALUES (?1, ?2, ?3, 0, ", now!(), ", 'to be replayed', ", now!(), ") ",
        "ON CONFLICT (endpoint, raid_id, seq) DO UPDATE SET attempts = 0, next_at = excluded.next_at";
    REPLAY_DEAD =
        "UPDATE webhook_deliveries SET attempts = 0, next_at = ", now!(), " WHERE id IN ",
        "    (SELECT id FROM webhook_deliveries WHERE endpoint = ?1 AND next_at IS NULL ORDER BY id LIMIT ?2)";
    RESUME = "UPDATE webhook_endpoints SET paused = NULL WHERE name = ?1 AND paused IS NOT NULL";
}

type ParkedRow = (i64, i64, i64, u32, Option<i64>, String, i64);

#[async_trait]
impl Webhooks for SqliteStore {
    async fn take_endpoint(&self, name: &str, instance: InstanceId) -> Result<Option<Cursor>> {
        const OPERATION: &str = "take a webhook endpoint";
        let (lineage, place) = self.feed_end().await?;
        let name = name.to_owned();
        let take = self.writer.run(OPERATION, Lane::Others, move |hand| {
            Box::pin(async move {
                let failed = failed(OPERATION);
                let commit = i64::try_from(place.commit).unwrap_or(i64::MAX);
                let make = sqlx::query(MAKE).bind(&name).bind(lineage).bind(commit);
                make.execute(&mut hand.connection).await.map_err(&failed)?;
                let take = sqlx::query_as(TAKE).bind(name).bind(instance.0);
                let row: Option<(String, i64, Option<String>)> = take
                    .fetch_optional(&mut hand.connection)
                    .await
                    .map_err(&failed)?;
                let cursor = |(lineage, commit, paused)| {
                    let place = Place {
                        commit: whole(OPERATION, commit)?,
                        ..Place::default()
                    };
                    Ok(Cursor {
                        lineage,
                        place,
                        paused,
                    })
                };
                row.map(cursor).transpose()
            })
        });
        take.await
    }

    async fn release_endpoint(&self, name: &str, instance: InstanceId) -> Result<()> {
        const OPERATION: &str = "release a webhook endpoint";
        let name = name.to_owned();
        let release = self.writer.run(OPERATION, Lane::Others, move |hand| {
            Box::pin(async move {
                let release = sqlx::query(RELEASE).bind(name).bind(instance.0);
                release
                    .execute(&mut hand.connection)
                    .await
                    .map(drop)
                    .map_err(failed(OPERATION))
            })
        });
        release.await
    }

    async fn note_progress(
        &self,
        name: &str,
        instance: InstanceId,
        progress: &Progress,
    ) -> Result<bool> {
        let (name, progress) = (name.to_owned(), progress.clone());
        let note = self
            .writer
            .run("note webhook deliveries", Lane::Others, move |hand| {
                Box::pin(async move { note(hand, &name, instance, &progress).await })
            });
        note.await
    }

    async fn due_deliveries(&self, name: &str, limit: u32) -> Result<Vec<Parked>> {
        let due = sqlx::query_as(DUE)
            .bind(name)
            .bind(limit)
            .fetch_all(&self.readers);
        parked(due.await.map_err(failed("read due webhook deliveries"))?)
    }

    async fn parked_deliveries(
        &self,
        name: &str,
        dead: bool,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Parked>> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let read = if dead {
            sqlx::query_as(DEAD)
        } else {
            sqlx::query_as(WAITING)
        };
        let read = read
            .bind(name)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.readers);
        parked(
            read.await
                .map_err(failed("read parked webhook deliveries"))?,
        )
    }

    async fn endpoints(&self) -> Result<Vec<EndpointRow>> {
        const OPERATION: &str = "read webhook endpoints";
        let read = sqlx::query_as(ENDPOINTS)
            .bind(COUNTED)
            .fetch_all(&self.readers);
        let rows: Vec<(String, Option<Uuid>, Option<String>, i64, i64)> =
            read.await.map_err(failed(OPERATION))?;
        let row = |(name, owner, paused, waiting, dead): (_, Option<Uuid>, _, _, _)| {
            let (waiting, dead) = (whole(OPERATION, waiting)?, whole(OPERATION, dead)?);
            Ok(EndpointRow {
                name,
                owner: owner.map(InstanceId),
                paused,
                waiting,
                dead,
            })
        };
        rows.into_iter().map(row).collect()
    }

    async fn replay(&self, name: &str, what: Replay, deed: &Deed) -> Result<u64> {
        let (name, deed) = (name.to_owned(), deed.clone());
        let replay = self
            .writer
            .run("replay webhook deliveries", Lane::Others, move |hand| {
                Box::pin(async move { replay(hand, &name, what, &deed).await })
            });
        replay.await
    }

    async fn resume_endpoint(&self, name: &str, deed: &Deed) -> Result<bool> {
        let (name, deed) = (name.to_owned(), deed.clone());
        let resume = self
            .writer
            .run("resume a webhook endpoint", Lane::Others, move |hand| {
                Box::pin(async move {
                    let failed = failed("resume a webhook endpoint");
                    let mut transaction = hand
                        .connection
                        .begin_with("BEGIN IMMEDIATE")
                        .await
                        .map_err(&failed)?;
                    let resume = sqlx::query(RESUME).bind(name).execute(&mut *transaction);
                    if resume.await.map_err(&failed)?.rows_affected() == 0 {
                        return Ok(false);
                    }
                    record(&mut transaction, &deed).await?;
                    transaction.commit().await.map_err(failed)?;
                    Ok(true)
                })
            });
        resume.await
    }
}

async fn note(
    hand: &mut Hand,
    name: &str,
    instance: InstanceId,
    progress: &Progress,
) -> Result<bool> {
    let failed = failed("note webhook deliveries");
    let Progress {
        cursor,
        settled,
        failed: parked,
        paused,
    } = progress;
    let mut transaction = hand
        .connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(&failed)?;
    let (lineage, place) = cursor.clone().unzip();
    let commit = place.map(|place| i64::try_from(place.commit).unwrap_or(i64::MAX));
    let moved = sqlx::query(MOVE)
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
        sqlx::query(SETTLE)
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
    }
    for one in parked {
        park(&mut transaction, name, one).await?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(true)
}

async fn park(connection: &mut SqliteConnection, name: &str, failed_try: &Failed) -> Result<()> {
    const OPERATION: &str = "park a webhook delivery";
    let Failed {
        raid,
        seq,
        attempts,
        again,
        error,
    } = failed_try;
    let seq = i64::try_from(seq.0).map_err(|error| refused(OPERATION, error))?;
    let park = sqlx::query(PARK)
        .bind(name)
        .bind(i64::from(*raid))
        .bind(seq)
        .bind(attempts);
    let park = park.bind(again.map(millis)).bind(error).execute(connection);
    park.await.map(drop).map_err(failed(OPERATION))
}

async fn replay(hand: &mut Hand, name: &str, what: Replay, deed: &Deed) -> Result<u64> {
    const OPERATION: &str = "replay webhook deliveries";
    let failed = failed(OPERATION);
    let mut transaction = hand
        .connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(&failed)?;
    let replay = match what {
        Replay::One(raid, seq) => {
            let seq = i64::try_from(seq.0).map_err(|error| refused(OPERATION, error))?;
            sqlx::query(REPLAY_ONE)
                .bind(name)
                .bind(i64::from(raid))
                .bind(seq)
        }
        Replay::Dead => sqlx::query(REPLAY_DEAD).bind(name).bind(COUNTED),
    };
    let count = replay
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?
        .rows_affected();
    record(&mut transaction, deed).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(count)
}

fn parked(rows: Vec<ParkedRow>) -> Result<Vec<Parked>> {
    const OPERATION: &str = "read webhook deliveries";
    let row = |(id, raid, seq, attempts, next_at, error, first_failed_at): ParkedRow| {
        Ok(Parked {
            id: whole(OPERATION, id)?,
            raid: RaidId::try_from(whole(OPERATION, raid)?)
                .map_err(|error| refused(OPERATION, error))?,
            seq: Seq(whole(OPERATION, seq)?),
            attempts,
            next_at: next_at.map(UnixMillis),
            error,
            first_failed_at: UnixMillis(first_failed_at),
        })
    };
    rows.into_iter().map(row).collect()
}
