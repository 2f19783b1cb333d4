//! The commit: one transaction per batch, each raid fenced by itself.
//!
//! A statement works on all raids of the batch at once. Its rows are passed as one JSON array of
//! arrays, encoded on the caller's task, because each statement costs a hop between threads.

mod rows;

use std::collections::{HashMap, HashSet};

use raidhall_protocol::Seq;
use rows::{AppendRows, CreationRow};
pub(super) use rows::{hex, json_array, rewritten_row};
use sqlx::{SqliteConnection, SqliteExecutor};
use uuid::Uuid;

use super::fault::{failed, unsigned};
use super::statements::statements;
use super::writer::WriterHandle;
use crate::store::effects::RaidCreation;
use crate::store::{Append, CommitOutcome, Epoch, InstanceId, RaidHead, Result, batch};

const OPERATION: &str = "commit";

statements! {
    /// Creates a raid's row before its first event; `ADVANCE` then sets the header under the fence.
    CREATE =
        "INSERT INTO raids (id, born, title, invite_code, create_key, target_xp, target_tasks, time_limit_secs, ",
        "    created_at, owner, epoch, leader, status, current_xp, current_tasks, last_seq) ",
        "SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, unhex(value ->> 4), value ->> 5, value ->> 6, ",
        "    value ->> 7, value ->> 8, unhex(value ->> 9), value ->> 10, value ->> 11, 'recruiting', 0, 0, 0 ",
        "FROM json_each(?1) WHERE true ",
        "ON CONFLICT DO NOTHING";
    COUNT_LED_RAIDS = "SELECT count(*) FROM raids WHERE leader = ?1";
    /// The fence: only raids that it returns may be written.
    ADVANCE =
        "UPDATE raids SET last_seq = new.value ->> 4, status = new.value ->> 5, deadline = new.value ->> 6, ",
        "    current_xp = new.value ->> 7, current_tasks = new.value ->> 8, ended_at = new.value ->> 9, ",
        "    invite_code = coalesce(new.value ->> 10, invite_code), ",
        "    leader = CASE WHEN new.value ->> 11 IS NULL THEN leader ELSE nullif(new.value ->> 11, 0) END ",
        "FROM json_each(?1) AS new ",
        "WHERE raids.id = new.value ->> 0 AND raids.owner = unhex(new.value ->> 1) ",
        "    AND raids.epoch = new.value ->> 2 AND raids.last_seq = new.value ->> 3 ",
        "RETURNING raids.id";
    INSERT_EVENTS =
        "INSERT INTO raid_events (born, raid_id, seq, at, \"by\", player, xp, version, kind, op_key, data, definitions) ",
        "SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, ",
        "    value ->> 7, value ->> 8, unhex(value ->> 9), value ->> 10, (SELECT max(number) FROM progression_definitions) ",
        "FROM json_each(?1)";
    JOIN =
        "INSERT INTO raid_members (player, raid_id, joined_at) ",
        "SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1) WHERE true ",
        "ON CONFLICT DO UPDATE SET joined_at = excluded.joined_at";
    LEAVE =
        "DELETE FROM raid_members WHERE (player, raid_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))";
    HEADS =
        "SELECT id, owner, epoch, last_seq FROM raids WHERE id IN (SELECT value FROM json_each(?1))";
}

/// Commits a batch on the writer thread.
pub(super) async fn commit(writer: &WriterHandle, batch: &[Append]) -> Result<Vec<CommitOutcome>> {
    batch::validate(batch)?;
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let rows = batch
        .iter()
        .map(AppendRows::from_append)
        .collect::<Result<Vec<_>>>()?;
    let commit = writer.write(OPERATION, |transaction| Box::pin(write(transaction, rows)));
    let unwritten = commit.await?;
    let fate = |append: &Append| match unwritten.get(&i64::from(append.raid)) {
        None => CommitOutcome::Committed,
        Some(Unwritten::Head(head)) => CommitOutcome::from_head(append, *head),
        Some(Unwritten::OverQuota) => CommitOutcome::OverQuota,
        Some(Unwritten::Missing) if RaidCreation::of(append).is_some() => CommitOutcome::Exists,
        Some(Unwritten::Missing) => CommitOutcome::Fenced,
    };
    Ok(batch.iter().map(fate).collect())
}

/// Why a raid was not written.
enum Unwritten {
    /// The raid exists, with this head.
    Head(RaidHead),
    /// The raid does not exist.
    Missing,
    /// The raid was not created, because its leader leads too many open ones.
    OverQuota,
}

type UnwrittenRaids = HashMap<i64, Unwritten>;

async fn write(
    transaction: &mut SqliteConnection,
    mut rows: Vec<AppendRows>,
) -> Result<UnwrittenRaids> {
    let failed = failed(OPERATION);
    let mut over_quota = HashSet::new();
    for rows in &rows {
        let Some(creation) = &rows.creation else {
            continue;
        };
        // One by one, so that each sees the raids that were created before it.
        if is_over_quota(transaction, creation).await? {
            over_quota.insert(rows.raid);
        } else {
            execute(transaction, CREATE, json_array([&creation.row].into_iter())).await?;
        }
    }
    let advance =
        sqlx::query_scalar(ADVANCE).bind(json_array(rows.iter().map(|rows| rows.header.as_str())));
    let written: Vec<i64> = advance
        .fetch_all(&mut *transaction)
        .await
        .map_err(&failed)?;

    let mut unwritten = UnwrittenRaids::new();
    if written.len() < rows.len() {
        let written: HashSet<i64> = written.into_iter().collect();
        let missed = rows
            .iter()
            .map(|rows| rows.raid)
            .filter(|raid| !written.contains(raid));
        for raid in missed.clone() {
            let unwritten_raid = if over_quota.contains(&raid) {
                Unwritten::OverQuota
            } else {
                Unwritten::Missing
            };
            unwritten.insert(raid, unwritten_raid);
        }
        let found = heads(&mut *transaction, OPERATION, missed).await?;
        let found = found.into_iter();
        unwritten.extend(found.map(|(raid, head)| (raid, Unwritten::Head(head))));
        rows.retain(|rows| written.contains(&rows.raid));
    }

    execute(
        transaction,
        INSERT_EVENTS,
        json_array(rows.iter().flat_map(|rows| &rows.events)),
    )
    .await?;
    execute(
        transaction,
        JOIN,
        json_array(rows.iter().flat_map(|rows| &rows.joined)),
    )
    .await?;
    execute(
        transaction,
        LEAVE,
        json_array(rows.iter().flat_map(|rows| &rows.left)),
    )
    .await?;
    Ok(unwritten)
}

async fn is_over_quota(connection: &mut SqliteConnection, creation: &CreationRow) -> Result<bool> {
    let Some(max) = creation.led_raids_max else {
        return Ok(false);
    };
    let led: i64 = sqlx::query_scalar(COUNT_LED_RAIDS)
        .bind(creation.leader)
        .fetch_one(connection)
        .await
        .map_err(failed(OPERATION))?;
    Ok(led >= i64::from(max))
}

/// Runs a statement over rows, unless there are none.
async fn execute(
    connection: &mut SqliteConnection,
    statement: &'static str,
    rows: Option<String>,
) -> Result<()> {
    if let Some(rows) = rows {
        sqlx::query(statement)
            .bind(rows)
            .execute(connection)
            .await
            .map_err(failed(OPERATION))?;
    }
    Ok(())
}

/// Returns the heads of those raids that exist.
pub(super) async fn heads(
    executor: impl SqliteExecutor<'_>,
    operation: &'static str,
    raids: impl Iterator<Item = i64>,
) -> Result<Vec<(i64, RaidHead)>> {
    let ids = json_array(raids.map(|raid| raid.to_string()));
    let found: Vec<(i64, Option<Uuid>, i64, i64)> = sqlx::query_as(HEADS)
        .bind(ids)
        .fetch_all(executor)
        .await
        .map_err(failed(operation))?;
    let head = |(raid, owner, epoch, last_seq)| Ok((raid, raid_head(owner, epoch, last_seq)?));
    found.into_iter().map(head).collect()
}

/// Builds a raid's head from its columns.
pub(super) fn raid_head(owner: Option<Uuid>, epoch: i64, last_seq: i64) -> Result<RaidHead> {
    const OPERATION: &str = "read head";
    let epoch = Epoch(unsigned(OPERATION, epoch)?);
    let last_seq = Seq(unsigned(OPERATION, last_seq)?);
    Ok(RaidHead {
        owner: owner.map(InstanceId),
        epoch,
        last_seq,
    })
}
