//! Reads of the ledger and of stored raids, and snapshots.

use anyhow::anyhow;
use async_trait::async_trait;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::rest::Contribution;
use raidhall_protocol::{Event, PlayerId, RaidId, Seq, TaskId, UnixMillis};
use sqlx::SqliteConnection;

use super::commit::{hex, json_array, raid_head};
use super::event_row::EventRow;
use super::fault::{failed, refused, unsigned};
use super::statements::statements;
use super::{SqliteStore, commit};
use crate::store::{
    Append, CommitOutcome, CommittedEvent, Epoch, InstanceId, Ledger, LoadedRaid, Month, OpHash,
    Result, StoreError,
};

statements! {
    MONTH_AND_HEAD = "SELECT born, owner, epoch, last_seq FROM raids WHERE id = ?1";
    SNAPSHOT = "SELECT seq, state FROM raid_snapshots WHERE raid_id = ?1";
    TAIL =
        "SELECT seq, at, \"by\", version, kind, data FROM raid_events ",
        "WHERE born = ?1 AND raid_id = ?2 AND seq > ?3 ORDER BY seq";
    OPS =
        "SELECT op_key, seq FROM raid_events ",
        "WHERE born = ?1 AND raid_id = ?2 AND seq > ?3 AND op_key IS NOT NULL ORDER BY seq";
    EVENTS =
        "SELECT seq, at, \"by\", version, kind, data FROM raid_events ",
        "WHERE born = (SELECT born FROM raids WHERE id = ?1) AND raid_id = ?1 AND seq > ?2 ",
        "ORDER BY seq LIMIT ?3";
    EVENTS_AT =
        "SELECT e.raid_id, e.seq, e.at, e.\"by\", e.version, e.kind, e.data, e.definitions ",
        "FROM json_each(?1) AS p ",
        "CROSS JOIN raids r ON r.id = p.value ->> 0 ",
        "CROSS JOIN raid_events e ON e.born = r.born AND e.raid_id = r.id AND e.seq = p.value ->> 1";
    CONTRIBUTIONS =
        "SELECT seq, at, player, xp, kind, task, note FROM raid_contributions ",
        "WHERE born = (SELECT born FROM raids WHERE id = ?1) AND raid_id = ?1 AND seq > ?2 ",
        "ORDER BY seq LIMIT ?3";
    FIND_OPS =
        "SELECT op_key, seq FROM raid_events WHERE born = (SELECT born FROM raids WHERE id = ?1) ",
        "AND raid_id = ?1 AND op_key IN (SELECT unhex(value) FROM json_each(?2))";
    SAVE_SNAPSHOT =
        "INSERT INTO raid_snapshots (raid_id, seq, state) ",
        "SELECT id, ?4, ?5 FROM raids WHERE id = ?1 AND owner = ?2 AND epoch = ?3 ",
        "ON CONFLICT (raid_id) DO UPDATE SET seq = excluded.seq, state = excluded.state ",
        "    WHERE excluded.seq > raid_snapshots.seq";
}

#[async_trait]
impl Ledger for SqliteStore {
    async fn commit(&self, batch: &[Append]) -> Result<Vec<CommitOutcome>> {
        commit::commit(&self.writer, batch).await
    }

    /// Reads a raid in one transaction, so that its parts belong together.
    async fn load(&self, raid: RaidId, op_keys: u64) -> Result<Option<LoadedRaid>> {
        const OPERATION: &str = "load raid";
        let failed = failed(OPERATION);
        let id = i64::from(raid);
        let mut transaction = self.readers.begin().await.map_err(&failed)?;
        let row = sqlx::query_as(MONTH_AND_HEAD)
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(&failed)?;
        let Some((born, owner, epoch, last_seq)) = row else {
            return Ok(None);
        };
        let head = raid_head(owner, epoch, last_seq)?;

        let snapshot = sqlx::query_as(SNAPSHOT)
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(&failed)?;
        let snapshot: Option<(i64, Vec<u8>)> = snapshot;
        let after = snapshot.as_ref().map_or(0, |(seq, _)| *seq);
        let tail = sqlx::query_as(TAIL).bind(born).bind(id).bind(after);
        let tail: Vec<EventRow> = tail.fetch_all(&mut *transaction).await.map_err(&failed)?;

        let window = last_seq.saturating_sub(clamped(op_keys));
        let ops = sqlx::query_as(OPS).bind(born).bind(id).bind(window);
        let ops: Vec<(Vec<u8>, i64)> = ops.fetch_all(&mut *transaction).await.map_err(&failed)?;
        transaction.rollback().await.map_err(failed)?; // it was read-only

        Ok(Some(LoadedRaid {
            created_month: Month(born),
            head,
            snapshot: snapshot
                .map(|(seq, state)| Ok((Seq(unsigned(OPERATION, seq)?), state)))
                .transpose()?,
            tail: tail
                .into_iter()
                .map(EventRow::decode)
                .collect::<Result<_>>()?,
            ops: ops
                .into_iter()
                .map(|row| op(OPERATION, row))
                .collect::<Result<_>>()?,
        }))
    }

    async fn events(&self, raid: RaidId, after: Seq, limit: u32) -> Result<Vec<Event>> {
        let events = sqlx::query_as(EVENTS)
            .bind(i64::from(raid))
            .bind(clamped(after.0))
            .bind(limit);
        let rows: Vec<EventRow> = events
            .fetch_all(&self.readers)
            .await
            .map_err(failed("read events"))?;
        rows.into_iter().map(EventRow::decode).collect()
    }

    async fn events_at(&self, places: &[RaidPlace]) -> Result<Vec<CommittedEvent>> {
        let rows = places.iter();
        let rows = rows.map(|place| format!("[{},{}]", place.raid, place.seq));
        let events = sqlx::query_as(EVENTS_AT)
            .bind(json_array(rows))
            .fetch_all(&self.readers);
        let rows: Vec<PlacedEventRow> = events.await.map_err(failed("read events of raids"))?;
        rows.into_iter()
            .map(|row| row.event.decode_committed(row.raid_id, row.definitions))
            .collect()
    }

    async fn contributions(
        &self,
        raid: RaidId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Contribution>> {
        const OPERATION: &str = "read contributions";
        let rows = sqlx::query_as(CONTRIBUTIONS)
            .bind(i64::from(raid))
            .bind(clamped(after.0))
            .bind(limit);
        type ContributionColumns = (i64, i64, i64, i64, String, Option<i64>, Option<String>);
        let rows: Vec<ContributionColumns> = rows
            .fetch_all(&self.readers)
            .await
            .map_err(failed(OPERATION))?;
        let contribution = |(seq, at, player, xp, kind, task, note): ContributionColumns| {
            Ok(Contribution {
                seq: Seq(unsigned(OPERATION, seq)?),
                at: UnixMillis(at),
                player: PlayerId::try_from(player).map_err(|error| refused(OPERATION, error))?,
                xp: unsigned(OPERATION, xp)?,
                kind,
                task: task
                    .map(TaskId::try_from)
                    .transpose()
                    .map_err(|error| refused(OPERATION, error))?,
                note,
            })
        };
        rows.into_iter().map(contribution).collect()
    }

    async fn find_ops(&self, raid: RaidId, ops: &[OpHash]) -> Result<Vec<(OpHash, Seq)>> {
        const OPERATION: &str = "find ops";
        let keys = json_array(ops.iter().map(|op| format!("\"{}\"", hex(op.0))));
        let find = sqlx::query_as(FIND_OPS).bind(i64::from(raid)).bind(keys);
        let found: Vec<(Vec<u8>, i64)> = find
            .fetch_all(&self.readers)
            .await
            .map_err(failed(OPERATION))?;
        found.into_iter().map(|row| op(OPERATION, row)).collect()
    }

    async fn save_snapshot(
        &self,
        raid: RaidId,
        owner: InstanceId,
        epoch: Epoch,
        seq: Seq,
        state: &[u8],
    ) -> Result<()> {
        let state = state.to_vec();
        let save = self.writer.write("save snapshot", move |transaction| {
            Box::pin(save_snapshot(transaction, raid, (owner, epoch), seq, state))
        });
        save.await
    }
}

/// Columns of an event, its raid and its definitions.
#[derive(sqlx::FromRow)]
struct PlacedEventRow {
    raid_id: i64,
    definitions: Option<u32>,
    #[sqlx(flatten)]
    event: EventRow,
}

fn op(operation: &'static str, (key, seq): (Vec<u8>, i64)) -> Result<(OpHash, Seq)> {
    let key = key.try_into().map_err(|_| StoreError::Refused {
        operation,
        source: anyhow!("event {seq}: an op key is not of 16 bytes"),
    })?;
    Ok((OpHash(key), Seq(unsigned(operation, seq)?)))
}

async fn save_snapshot(
    transaction: &mut SqliteConnection,
    raid: RaidId,
    (owner, epoch): (InstanceId, Epoch),
    seq: Seq,
    state: Vec<u8>,
) -> Result<()> {
    let save = sqlx::query(SAVE_SNAPSHOT)
        .bind(i64::from(raid))
        .bind(owner.0)
        .bind(clamped(epoch.0))
        .bind(clamped(seq.0))
        .bind(state);
    save.execute(&mut *transaction)
        .await
        .map(drop)
        .map_err(failed("save snapshot"))
}

/// Converts a number that is only compared with; a larger one becomes SQLite's largest integer.
pub(super) fn clamped(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
