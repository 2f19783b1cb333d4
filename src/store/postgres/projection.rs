//! The projector's place and failed causes.

use async_trait::async_trait;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{PlayerId, UnixMillis};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::PostgresStore;
use super::columns::{decode, number, op, player, raid, seq};
use super::stream_append::{AppendedStreams, append_statement};
use crate::store::projection::FAULTS_COUNT_MAX;
use crate::store::{
    FailedCause, FeedCursor, InstanceId, LoadedStream, OpHash, ProjectedPage, Projection,
    ProjectionOutcome, Result, StreamOutcome,
};

const ACQUIRE_PROJECTOR: &str = "
    UPDATE projector p SET owner = $1
    WHERE p.id = 1 AND (p.owner IS NULL OR p.owner = $1 OR NOT EXISTS (
        SELECT FROM instances i WHERE i.id = p.owner AND i.lease_until > clock_timestamp()))
    RETURNING place_commit, place_raid, place_seq";

const PROJECTOR_PLACE: &str =
    "SELECT place_commit, place_raid, place_seq FROM projector WHERE id = 1";

const RELEASE_PROJECTOR: &str = "UPDATE projector SET owner = NULL WHERE id = 1 AND owner = $1";

const BOARDS_FINAL_UNTIL: &str = "SELECT boards_final_until FROM projector WHERE id = 1";

const FINISH_BOARDS: &str = "
    UPDATE projector SET boards_final_until = greatest(boards_final_until, $2)
    WHERE id = 1 AND owner = $1
    RETURNING boards_final_until";

const FIND_STREAM_OPS: &str = "
    SELECT o.player, o.op
    FROM unnest($1::bigint[], $2::bytea[]) AS o (player, op)
    CROSS JOIN LATERAL (
        SELECT FROM player_events e WHERE e.player = o.player AND e.op_key = o.op LIMIT 1
    ) found";

const FAILED_CAUSES: &str = "
    SELECT player, raid_id, seq, error, failed_at FROM projector_faults
    WHERE player = ANY (ARRAY(
        SELECT DISTINCT player FROM projector_faults WHERE player > $1 ORDER BY player LIMIT $2))
    ORDER BY player, raid_id, seq";

const COUNT_FAILED_CAUSES: &str =
    "SELECT count(*) FROM (SELECT FROM projector_faults LIMIT $1) AS fault";

#[async_trait]
impl Projection for PostgresStore {
    async fn acquire_projector(&self, instance: InstanceId) -> Result<Option<FeedCursor>> {
        let statement = sqlx::query(ACQUIRE_PROJECTOR).bind(instance.0);
        self.general_pool
            .fetch_optional("take the projector's place", statement, place)
            .await
    }

    async fn release_projector(&self, instance: InstanceId) -> Result<()> {
        let statement = sqlx::query(RELEASE_PROJECTOR).bind(instance.0);
        self.general_pool
            .fetch_rows("release the projector's place", statement)
            .await
            .map(drop)
    }

    async fn boards_final_until(&self) -> Result<UnixMillis> {
        let statement = sqlx::query(BOARDS_FINAL_UNTIL);
        self.general_pool
            .fetch_one("read which windows are final", statement, final_until)
            .await
    }

    async fn finish_boards(&self, instance: InstanceId, until: UnixMillis) -> Result<bool> {
        let statement = sqlx::query(FINISH_BOARDS).bind(instance.0).bind(until.0);
        let finished =
            self.general_pool
                .fetch_optional("make windows final", statement, final_until);
        Ok(finished.await?.is_some())
    }

    async fn projector_place(&self) -> Result<FeedCursor> {
        let statement = sqlx::query(PROJECTOR_PLACE);
        self.general_pool
            .fetch_one("read the projector's place", statement, place)
            .await
    }

    async fn load_streams(&self, players: &[PlayerId]) -> Result<Vec<(PlayerId, LoadedStream)>> {
        self.load_players_streams(players).await
    }

    async fn find_stream_ops(&self, ops: &[(PlayerId, OpHash)]) -> Result<Vec<(PlayerId, OpHash)>> {
        let players: Vec<i64> = ops.iter().map(|(player, _)| i64::from(*player)).collect();
        let keys: Vec<_> = ops.iter().map(|(_, op)| op.0.to_vec()).collect();
        let statement = sqlx::query(FIND_STREAM_OPS).bind(players).bind(keys);
        let found = |row: &PgRow| {
            let op = op(row, "op")?;
            let op = op.ok_or_else(|| decode("an op key is null"))?;
            Ok((player(row, "player")?, op))
        };
        self.general_pool
            .fetch_all("find ops in players' streams", statement, found)
            .await
    }

    async fn commit_projection(
        &self,
        instance: InstanceId,
        page: &ProjectedPage,
    ) -> Result<ProjectionOutcome> {
        const OPERATION: &str = "write a projected page";
        page.check(OPERATION)?;
        let statement = append_statement(OPERATION, Some(instance), page)?;
        let written = self
            .general_pool
            .fetch_one(OPERATION, statement, AppendedStreams::from_row);
        let written = written.await?;
        if !written.is_projector {
            return Ok(ProjectionOutcome::Lost);
        }
        let appends = page.appends.iter();
        let moved = appends.filter(|append| written.outcome(append) == StreamOutcome::Moved);
        Ok(ProjectionOutcome::of_moved(
            moved.map(|append| append.player).collect(),
        ))
    }

    async fn failed_causes(&self, after: Option<PlayerId>, limit: u32) -> Result<Vec<FailedCause>> {
        let statement = sqlx::query(FAILED_CAUSES)
            .bind(after.map_or(0, i64::from))
            .bind(i64::from(limit));
        self.general_pool
            .fetch_all("read failed causes", statement, failed_cause)
            .await
    }

    async fn count_failed_causes(&self) -> Result<u64> {
        let statement = sqlx::query(COUNT_FAILED_CAUSES).bind(i64::from(FAULTS_COUNT_MAX));
        self.general_pool
            .fetch_count("count failed causes", statement)
            .await
    }
}

fn final_until(row: &PgRow) -> sqlx::Result<UnixMillis> {
    Ok(UnixMillis(row.try_get("boards_final_until")?))
}

fn place(row: &PgRow) -> sqlx::Result<FeedCursor> {
    Ok(FeedCursor {
        commit: number(row, "place_commit")?,
        raid: number(row, "place_raid")?,
        seq: number(row, "place_seq")?,
    })
}

fn failed_cause(row: &PgRow) -> sqlx::Result<FailedCause> {
    Ok(FailedCause {
        player: player(row, "player")?,
        cause: RaidPlace {
            raid: raid(row, "raid_id")?,
            seq: seq(row, "seq")?,
        },
        error: row.try_get("error")?,
        failed_at: UnixMillis(row.try_get("failed_at")?),
    })
}
