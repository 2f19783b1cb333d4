//! Reads of the ledger and of stored raids. Every read names the raid's partition.

use async_trait::async_trait;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::rest::Contribution;
use raidhall_protocol::{Event, RaidId, Seq, TaskId, UnixMillis};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::columns::{clamped, committed_event, event, number, op, player, seq};
use super::connections::ConnectionPool;
use super::ownership::raid_head;
use super::{PostgresStore, commit, fault};
use crate::store::{
    Append, CommitOutcome, CommittedEvent, Epoch, InstanceId, Ledger, LoadedRaid, Month, OpHash,
    Result,
};

/// The raid's own row, then its events: those after the snapshot with their data, earlier ones only
/// for their op keys. It is one statement, so that all parts are consistent.
const LOAD: &str = "
    WITH raid AS MATERIALIZED (
        SELECT r.id, r.born, r.owner, r.epoch, r.last_seq, s.seq AS snapshot_seq, s.state,
            coalesce(s.seq, 0) AS tail_after, r.last_seq - $2 AS ops_after
        FROM raids r LEFT JOIN raid_snapshots s ON s.raid_id = r.id
        WHERE r.id = $1
    )
    SELECT born, owner, epoch, last_seq, snapshot_seq, state,
        NULL::bigint AS seq, NULL::bigint AS at, NULL::bigint AS by, NULL::text AS kind, NULL::smallint AS version,
        NULL::text AS data, NULL::bytea AS op_key
    FROM raid
    UNION ALL (
        SELECT NULL, NULL, NULL, NULL, NULL, NULL, e.seq, e.at, e.by, e.kind, e.version,
            CASE WHEN e.seq > (SELECT tail_after FROM raid) THEN e.data::text END,
            CASE WHEN e.seq > (SELECT ops_after FROM raid) THEN e.op_key END
        FROM raid_events e
        WHERE e.born = (SELECT born FROM raid) AND e.raid_id = $1
            AND e.seq > (SELECT least(tail_after, ops_after) FROM raid)
            AND (e.seq > (SELECT tail_after FROM raid) OR e.op_key IS NOT NULL)
        ORDER BY e.seq
    )";

const EVENTS: &str = "
    SELECT seq, at, by, kind, version, data::text AS data
    FROM raid_events
    WHERE born = (SELECT born FROM raids WHERE id = $1) AND raid_id = $1 AND seq > $2
    ORDER BY seq
    LIMIT $3";

const EVENTS_AT: &str = "
    SELECT e.raid_id, e.seq, e.at, e.by, e.kind, e.version, e.data::text AS data, e.definitions
    FROM unnest($1::bigint[], $2::bigint[]) AS p (raid, seq)
    CROSS JOIN LATERAL (
        SELECT raid_id, seq, at, by, kind, version, data, definitions FROM raid_events
        WHERE born = (SELECT born FROM raids WHERE id = p.raid) AND raid_id = p.raid AND seq = p.seq
        LIMIT 1
    ) e";

const CONTRIBUTIONS: &str = "
    SELECT seq, at, player, xp, kind, task, note
    FROM raid_contributions
    WHERE born = (SELECT born FROM raids WHERE id = $1) AND raid_id = $1 AND seq > $2
    ORDER BY seq
    LIMIT $3";

const FIND_OPS: &str = "
    SELECT op_key, seq FROM raid_events
    WHERE born = (SELECT born FROM raids WHERE id = $1) AND raid_id = $1 AND op_key = ANY($2)";

/// A snapshot of committed events stays true when the raid's owner changes, so the fence needs no
/// lock.
const SAVE_SNAPSHOT: &str = "
    INSERT INTO raid_snapshots AS kept (raid_id, seq, state)
    SELECT id, $4, $5 FROM raids WHERE id = $1 AND owner = $2 AND epoch = $3 AND last_seq >= $4
    ON CONFLICT (raid_id) DO UPDATE SET seq = excluded.seq, state = excluded.state WHERE kept.seq < excluded.seq";

#[async_trait]
impl Ledger for PostgresStore {
    async fn commit(&self, batch: &[Append]) -> Result<Vec<CommitOutcome>> {
        commit::commit(&self.commit_pool, batch).await
    }

    async fn load(&self, raid: RaidId, op_keys: u64) -> Result<Option<LoadedRaid>> {
        load(&self.session_pool, raid, op_keys).await
    }

    async fn load_for_read(&self, raid: RaidId) -> Result<Option<LoadedRaid>> {
        load(&self.general_pool, raid, 0).await
    }

    async fn events(&self, raid: RaidId, after: Seq, limit: u32) -> Result<Vec<Event>> {
        let statement = sqlx::query(EVENTS)
            .bind(i64::from(raid))
            .bind(clamped(after.0))
            .bind(i64::from(limit));
        self.general_pool
            .fetch_all("read events", statement, event)
            .await
    }

    async fn events_at(&self, places: &[RaidPlace]) -> Result<Vec<CommittedEvent>> {
        let raids: Vec<i64> = places.iter().map(|place| place.raid.into()).collect();
        let seqs: Vec<i64> = places.iter().map(|place| clamped(place.seq.0)).collect();
        let statement = sqlx::query(EVENTS_AT).bind(raids).bind(seqs);
        self.general_pool
            .fetch_all("read events of raids", statement, committed_event)
            .await
    }

    async fn contributions(
        &self,
        raid: RaidId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Contribution>> {
        let statement = sqlx::query(CONTRIBUTIONS)
            .bind(i64::from(raid))
            .bind(clamped(after.0))
            .bind(i64::from(limit));
        self.general_pool
            .fetch_all("read contributions", statement, contribution)
            .await
    }

    async fn find_ops(&self, raid: RaidId, ops: &[OpHash]) -> Result<Vec<(OpHash, Seq)>> {
        let keys = ops.iter().map(|op| op.0.to_vec()).collect::<Vec<_>>();
        let statement = sqlx::query(FIND_OPS).bind(i64::from(raid)).bind(keys);
        self.session_pool
            .fetch_all("find ops", statement, |row| {
                Ok((OpHash(row.try_get("op_key")?), seq(row, "seq")?))
            })
            .await
    }

    async fn save_snapshot(
        &self,
        raid: RaidId,
        owner: InstanceId,
        epoch: Epoch,
        seq: Seq,
        state: &[u8],
    ) -> Result<()> {
        let statement = sqlx::query(SAVE_SNAPSHOT)
            .bind(i64::from(raid))
            .bind(owner.0)
            .bind(clamped(epoch.0))
            .bind(clamped(seq.0))
            .bind(state.to_vec());
        self.general_pool
            .fetch_rows("save a snapshot", statement)
            .await
            .map(drop)
    }
}

fn loaded_raid(rows: &[PgRow]) -> sqlx::Result<Option<LoadedRaid>> {
    let mut raid = None;
    let mut tail = Vec::new();
    let mut ops = Vec::new();
    for row in rows {
        if row.try_get::<Option<i64>, _>("seq")?.is_none() {
            raid = Some(row);
            continue;
        }
        if row.try_get::<Option<&str>, _>("data")?.is_some() {
            tail.push(event(row)?);
        }
        if let Some(op) = op(row, "op_key")? {
            ops.push((op, seq(row, "seq")?));
        }
    }
    let Some(raid) = raid else { return Ok(None) };
    tail.sort_unstable_by_key(|event| event.seq);
    ops.sort_unstable_by_key(|(_, seq)| *seq);
    let snapshot = match raid.try_get::<Option<i64>, _>("snapshot_seq")? {
        Some(_) => Some((seq(raid, "snapshot_seq")?, raid.try_get("state")?)),
        None => None,
    };
    Ok(Some(LoadedRaid {
        created_month: Month(raid.try_get("born")?),
        head: raid_head(raid)?,
        snapshot,
        tail,
        ops,
    }))
}

async fn load(pool: &ConnectionPool, raid: RaidId, op_keys: u64) -> Result<Option<LoadedRaid>> {
    const OPERATION: &str = "load a raid";
    let statement = sqlx::query(LOAD)
        .bind(i64::from(raid))
        .bind(clamped(op_keys));
    let rows = pool.fetch_rows(OPERATION, statement).await?;
    loaded_raid(&rows).map_err(|error| fault::from_sqlx(OPERATION, error))
}

fn contribution(row: &PgRow) -> sqlx::Result<Contribution> {
    let task: Option<i64> = row.try_get("task")?;
    Ok(Contribution {
        seq: seq(row, "seq")?,
        at: UnixMillis(row.try_get("at")?),
        player: player(row, "player")?,
        xp: number(row, "xp")?,
        kind: row.try_get("kind")?,
        task: task
            .map(TaskId::try_from)
            .transpose()
            .map_err(super::columns::decode)?,
        note: row.try_get("note")?,
    })
}
