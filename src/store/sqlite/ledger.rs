//! The commit: one transaction per batch, each raid fenced by itself.
//!
//! A statement works on all raids of the batch at once: its rows come as one JSON array of arrays, encoded on the
//! caller's task, since each statement costs a passage between threads.

mod rows;

use std::collections::{HashMap, HashSet};

use raidhall_protocol::Seq;
use rows::{Rows, Totals};
pub(super) use rows::{array, rewritten};
use sqlx::{Connection, SqliteConnection, SqliteExecutor};
use uuid::Uuid;

use super::fault::{failed, whole};
use super::statements::statements;
use super::writer::{Hand, Lane, Writer};
use crate::store::{Append, Epoch, Fate, Head, InstanceId, Result, batch};

const OPERATION: &str = "commit";

statements! {
    /// A raid that is being made, before its first event; its header follows with the fence.
    CREATE =
        "INSERT INTO raids (id, born, title, invite_code, create_key, target_xp, target_tasks, time_limit_secs, ",
        "    created_at, owner, epoch, status, current_xp, current_tasks, last_seq) ",
        "SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, unhex(value ->> 4), value ->> 5, value ->> 6, ",
        "    value ->> 7, value ->> 8, unhex(value ->> 9), value ->> 10, 'recruiting', 0, 0, 0 ",
        "FROM json_each(?1) WHERE true ",
        "ON CONFLICT DO NOTHING";
    /// The fence: what it returns, and nothing else, may be written.
    ADVANCE =
        "UPDATE raids SET last_seq = new.value ->> 4, status = new.value ->> 5, deadline = new.value ->> 6, ",
        "    current_xp = new.value ->> 7, current_tasks = new.value ->> 8, ended_at = new.value ->> 9 ",
        "FROM json_each(?1) AS new ",
        "WHERE raids.id = new.value ->> 0 AND raids.owner = unhex(new.value ->> 1) ",
        "    AND raids.epoch = new.value ->> 2 AND raids.last_seq = new.value ->> 3 ",
        "RETURNING raids.id";
    RECORD =
        "INSERT INTO raid_events (born, raid_id, seq, at, \"by\", player, xp, version, kind, op_key, data) ",
        "SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, ",
        "    value ->> 7, value ->> 8, unhex(value ->> 9), value ->> 10 ",
        "FROM json_each(?1)";
    JOIN =
        "INSERT INTO raid_members (player, raid_id) SELECT value ->> 0, value ->> 1 FROM json_each(?1) WHERE true ",
        "ON CONFLICT DO NOTHING";
    LEAVE =
        "DELETE FROM raid_members WHERE (player, raid_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))";
    EARN =
        "UPDATE players SET xp = xp + (earned.value ->> 1), tasks = tasks + (earned.value ->> 2), ",
        "    raids_won = raids_won + (earned.value ->> 3) ",
        "FROM json_each(?1) AS earned WHERE players.id = earned.value ->> 0";
    HEADS =
        "SELECT id, owner, epoch, last_seq FROM raids WHERE id IN (SELECT value FROM json_each(?1))";
}

/// Commits a batch on the writing thread.
pub(super) async fn commit(writer: &Writer, batch: &[Append]) -> Result<Vec<Fate>> {
    batch::check(batch)?;
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let rows = batch.iter().map(Rows::of).collect::<Result<Vec<_>>>()?;
    let commit = writer.run(OPERATION, Lane::Others, |hand: &mut Hand| {
        Box::pin(write(&mut hand.connection, rows))
    });
    let unwritten = commit.await?;
    let fate = |append: &Append| match unwritten.get(&i64::from(append.raid)) {
        None => Fate::Committed,
        Some(Some(head)) => Fate::unwritten(append, *head),
        Some(None) if rows::is_creation(append) => Fate::Exists,
        Some(None) => Fate::Fenced,
    };
    Ok(batch.iter().map(fate).collect())
}

/// The raids that were not written, each with its head if it exists.
type Unwritten = HashMap<i64, Option<Head>>;

async fn write(connection: &mut SqliteConnection, mut rows: Vec<Rows>) -> Result<Unwritten> {
    let failed = failed(OPERATION);
    let mut transaction = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(&failed)?;
    execute(
        &mut transaction,
        CREATE,
        array(rows.iter().filter_map(|rows| rows.creation.as_deref())),
    )
    .await?;
    let advance =
        sqlx::query_scalar(ADVANCE).bind(array(rows.iter().map(|rows| rows.header.as_str())));
    let written: Vec<i64> = advance
        .fetch_all(&mut *transaction)
        .await
        .map_err(&failed)?;

    let mut unwritten = Unwritten::new();
    if written.len() < rows.len() {
        let written: HashSet<i64> = written.into_iter().collect();
        let missed = rows
            .iter()
            .map(|rows| rows.raid)
            .filter(|raid| !written.contains(raid));
        unwritten.extend(missed.clone().map(|raid| (raid, None)));
        let found = heads(&mut *transaction, OPERATION, missed).await?;
        unwritten.extend(found.into_iter().map(|(raid, head)| (raid, Some(head))));
        rows.retain(|rows| written.contains(&rows.raid));
    }

    execute(
        &mut transaction,
        RECORD,
        array(rows.iter().flat_map(|rows| &rows.events)),
    )
    .await?;
    execute(
        &mut transaction,
        JOIN,
        array(rows.iter().flat_map(|rows| &rows.joined)),
    )
    .await?;
    execute(
        &mut transaction,
        LEAVE,
        array(rows.iter().flat_map(|rows| &rows.left)),
    )
    .await?;
    execute(&mut transaction, EARN, Totals::of(&rows).encode()).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(unwritten)
}

/// Runs a statement over rows, if there are any.
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

/// The heads of those of these raids that exist.
pub(super) async fn heads(
    executor: impl SqliteExecutor<'_>,
    operation: &'static str,
    raids: impl Iterator<Item = i64>,
) -> Result<Vec<(i64, Head)>> {
    let ids = array(raids.map(|raid| raid.to_string()));
    let found: Vec<(i64, Option<Uuid>, i64, i64)> = sqlx::query_as(HEADS)
        .bind(ids)
        .fetch_all(executor)
        .await
        .map_err(failed(operation))?;
    let head = |(raid, owner, epoch, last_seq)| Ok((raid, head(owner, epoch, last_seq)?));
    found.into_iter().map(head).collect()
}

/// A raid's head from its columns.
pub(super) fn head(owner: Option<Uuid>, epoch: i64, last_seq: i64) -> Result<Head> {
    const OPERATION: &str = "read head";
    let (epoch, last_seq) = (
        Epoch(whole(OPERATION, epoch)?),
        Seq(whole(OPERATION, last_seq)?),
    );
    Ok(Head {
        owner: owner.map(InstanceId),
        epoch,
        last_seq,
    })
}
