//! The projector's place and failed causes.

use async_trait::async_trait;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{PlayerId, RaidId, Seq, UnixMillis};
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::commit::{hex, json_array};
use super::fault::{failed, refused, unsigned};
use super::ledger::clamped;
use super::players::player_id;
use super::statements::{now, statements};
use super::streams::{append_to_stream, load_stream};
use crate::store::projection::FAULTS_COUNT_MAX;
use crate::store::{
    FailedCause, FeedCursor, InstanceId, LoadedStream, OpHash, ProjectedPage, Projection,
    ProjectionOutcome, Result, StreamOutcome,
};

const COMMIT_OPERATION: &str = "write a projected page";

statements! {
    ACQUIRE_PROJECTOR =
        "UPDATE projector SET owner = ?1 WHERE id = 1 AND (owner IS NULL OR owner = ?1 OR NOT EXISTS ",
        "    (SELECT 1 FROM instances WHERE instances.id = owner AND lease_until > ", now!(), ")) ",
        "RETURNING place_commit, place_raid, place_seq";
    PROJECTOR_PLACE = "SELECT place_commit, place_raid, place_seq FROM projector WHERE id = 1";
    RELEASE_PROJECTOR = "UPDATE projector SET owner = NULL WHERE id = 1 AND owner = ?1";
    BOARDS_FINAL_UNTIL = "SELECT boards_final_until FROM projector WHERE id = 1";
    FINISH_BOARDS =
        "UPDATE projector SET boards_final_until = max(boards_final_until, ?2) WHERE id = 1 AND owner = ?1";
    /// Returns the positions of those ops that are found.
    FIND_OPS =
        "SELECT key FROM json_each(?1) WHERE EXISTS (SELECT 1 FROM player_events ",
        "    WHERE player = value ->> 0 AND op_key = unhex(value ->> 1))";
    IS_PROJECTOR =
        "SELECT EXISTS (SELECT 1 FROM projector ",
        "    WHERE id = 1 AND owner = ?1 AND place_commit = ?2 AND place_raid = ?3 AND place_seq = ?4)";
    MOVE_PROJECTOR = "UPDATE projector SET place_commit = ?1, place_raid = ?2, place_seq = ?3 WHERE id = 1";
    RECORD_FAILED =
        "INSERT INTO projector_faults (player, raid_id, seq, error, failed_at) ",
        "SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM players WHERE id = ?1 AND erased_at IS NULL) ",
        "ON CONFLICT (player, raid_id, seq) DO UPDATE SET error = excluded.error";
    DELETE_SETTLED = "DELETE FROM projector_faults WHERE player = ?1 AND raid_id = ?2 AND seq = ?3";
    FAILED_CAUSES =
        "SELECT player, raid_id, seq, error, failed_at FROM projector_faults WHERE player IN ",
        "    (SELECT DISTINCT player FROM projector_faults WHERE player > ?1 ORDER BY player LIMIT ?2) ",
        "ORDER BY player, raid_id, seq";
    COUNT_FAILED = "SELECT count(*) FROM (SELECT 1 FROM projector_faults LIMIT ?1)";
}

#[async_trait]
impl Projection for SqliteStore {
    async fn acquire_projector(&self, instance: InstanceId) -> Result<Option<FeedCursor>> {
        const OPERATION: &str = "take the projector's place";
        let take = self.writer.write(OPERATION, move |transaction| {
            Box::pin(async move {
                let take = sqlx::query_as(ACQUIRE_PROJECTOR)
                    .bind(instance.0)
                    .fetch_optional(&mut *transaction);
                let place: Option<(i64, i64, i64)> = take.await.map_err(failed(OPERATION))?;
                place.map(cursor).transpose()
            })
        });
        take.await
    }

    async fn release_projector(&self, instance: InstanceId) -> Result<()> {
        const OPERATION: &str = "release the projector's place";
        let release = self.writer.write(OPERATION, move |transaction| {
            Box::pin(async move {
                let release = sqlx::query(RELEASE_PROJECTOR).bind(instance.0);
                let released = release.execute(&mut *transaction).await;
                released.map(drop).map_err(failed(OPERATION))
            })
        });
        release.await
    }

    async fn boards_final_until(&self) -> Result<UnixMillis> {
        let until = sqlx::query_scalar(BOARDS_FINAL_UNTIL).fetch_one(&self.readers);
        let until = until
            .await
            .map_err(failed("read which windows are final"))?;
        Ok(UnixMillis(until))
    }

    async fn finish_boards(&self, instance: InstanceId, until: UnixMillis) -> Result<bool> {
        const OPERATION: &str = "make windows final";
        let finish = self.writer.write(OPERATION, move |transaction| {
            Box::pin(async move {
                let finish = sqlx::query(FINISH_BOARDS).bind(instance.0).bind(until.0);
                let finished = finish.execute(&mut *transaction).await;
                Ok(finished.map_err(failed(OPERATION))?.rows_affected() > 0)
            })
        });
        finish.await
    }

    async fn projector_place(&self) -> Result<FeedCursor> {
        let place = sqlx::query_as(PROJECTOR_PLACE).fetch_one(&self.readers);
        cursor(place.await.map_err(failed("read the projector's place"))?)
    }

    /// Reads the streams in one transaction, so that the parts of each belong together.
    async fn load_streams(&self, players: &[PlayerId]) -> Result<Vec<(PlayerId, LoadedStream)>> {
        let failed = failed("load players' streams");
        let mut transaction = self.readers.begin().await.map_err(&failed)?;
        let mut loaded = Vec::new();
        for player in players {
            if let Some(stream) = load_stream(&mut transaction, *player, None).await? {
                loaded.push((*player, stream));
            }
        }
        transaction.rollback().await.map_err(&failed)?; // it was read-only
        Ok(loaded)
    }

    async fn find_stream_ops(&self, ops: &[(PlayerId, OpHash)]) -> Result<Vec<(PlayerId, OpHash)>> {
        let rows = ops.iter();
        let rows = rows.map(|(player, op)| format!("[{player},\"{}\"]", hex(op.0)));
        let find = sqlx::query_scalar(FIND_OPS)
            .bind(json_array(rows))
            .fetch_all(&self.readers);
        let positions: Vec<u32> = find.await.map_err(failed("find ops in players' streams"))?;
        let found = positions.iter().map(|position| ops[*position as usize]);
        Ok(found.collect())
    }

    async fn commit_projection(
        &self,
        instance: InstanceId,
        page: &ProjectedPage,
    ) -> Result<ProjectionOutcome> {
        page.check(COMMIT_OPERATION)?;
        let page = page.clone();
        let commit = self.writer.write(COMMIT_OPERATION, move |transaction| {
            Box::pin(async move { commit_projection(transaction, instance, &page).await })
        });
        commit.await
    }

    async fn failed_causes(&self, after: Option<PlayerId>, limit: u32) -> Result<Vec<FailedCause>> {
        let read = sqlx::query_as(FAILED_CAUSES)
            .bind(after.map_or(0, i64::from))
            .bind(limit)
            .fetch_all(&self.readers);
        let rows: Vec<FailedCauseRow> = read.await.map_err(failed("read failed causes"))?;
        rows.into_iter().map(FailedCauseRow::decode).collect()
    }

    async fn count_failed_causes(&self) -> Result<u64> {
        const OPERATION: &str = "count failed causes";
        let count = sqlx::query_scalar(COUNT_FAILED)
            .bind(FAULTS_COUNT_MAX)
            .fetch_one(&self.readers);
        unsigned(OPERATION, count.await.map_err(failed(OPERATION))?)
    }
}

/// Reads a place in the feed from its columns.
fn cursor((commit, raid, seq): (i64, i64, i64)) -> Result<FeedCursor> {
    const OPERATION: &str = "decode the projector's place";
    Ok(FeedCursor {
        commit: unsigned(OPERATION, commit)?,
        raid: unsigned(OPERATION, raid)?,
        seq: unsigned(OPERATION, seq)?,
    })
}

async fn commit_projection(
    transaction: &mut SqliteConnection,
    instance: InstanceId,
    page: &ProjectedPage,
) -> Result<ProjectionOutcome> {
    let failed = failed(COMMIT_OPERATION);
    let is_projector = sqlx::query_scalar(IS_PROJECTOR)
        .bind(instance.0)
        .bind(clamped(page.from.commit))
        .bind(clamped(page.from.raid))
        .bind(clamped(page.from.seq))
        .fetch_one(&mut *transaction);
    let is_projector: bool = is_projector.await.map_err(&failed)?;
    if !is_projector {
        return Ok(ProjectionOutcome::Lost);
    }
    let mut moved = Vec::new();
    for append in &page.appends {
        if append_to_stream(transaction, append).await? == StreamOutcome::Moved {
            moved.push(append.player);
        }
    }
    if moved.is_empty() {
        write_failed_causes(transaction, page)
            .await
            .map_err(&failed)?;
        let advance = sqlx::query(MOVE_PROJECTOR)
            .bind(clamped(page.to.commit))
            .bind(clamped(page.to.raid))
            .bind(clamped(page.to.seq));
        advance.execute(&mut *transaction).await.map_err(&failed)?;
    }
    Ok(ProjectionOutcome::of_moved(moved))
}

/// Records the page's failed causes, and deletes those that are settled.
async fn write_failed_causes(
    transaction: &mut SqliteConnection,
    page: &ProjectedPage,
) -> sqlx::Result<()> {
    for failed in &page.failed {
        let record = sqlx::query(RECORD_FAILED)
            .bind(i64::from(failed.player))
            .bind(i64::from(failed.cause.raid))
            .bind(clamped(failed.cause.seq.0))
            .bind(&failed.error)
            .bind(failed.failed_at.0);
        record.execute(&mut *transaction).await?;
    }
    for (player, cause) in &page.settled {
        let delete = sqlx::query(DELETE_SETTLED)
            .bind(i64::from(*player))
            .bind(i64::from(cause.raid))
            .bind(clamped(cause.seq.0));
        delete.execute(&mut *transaction).await?;
    }
    Ok(())
}

/// Columns that make up a failed cause.
#[derive(sqlx::FromRow)]
struct FailedCauseRow {
    player: i64,
    raid_id: i64,
    seq: i64,
    error: String,
    failed_at: i64,
}

impl FailedCauseRow {
    fn decode(self) -> Result<FailedCause> {
        const OPERATION: &str = "decode a failed cause";
        let raid = RaidId::try_from(self.raid_id);
        Ok(FailedCause {
            player: player_id(self.player)?,
            cause: RaidPlace {
                raid: raid.map_err(|error| refused(OPERATION, error))?,
                seq: Seq(unsigned(OPERATION, self.seq)?),
            },
            error: self.error,
            failed_at: UnixMillis(self.failed_at),
        })
    }
}
