//! Raids one by one: claimed and released, loaded, paged through, looked up.

use std::collections::HashMap;

use anyhow::anyhow;
use raidhall_protocol::rest::Contribution;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Event, PlayerId, RaidId, Seq, TaskId, UnixMillis};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqlitePool};
use uuid::Uuid;

use super::event_row::EventRow;
use super::fault::{failed, refused, unsigned};
use super::ledger::{self, json_array, raid_head};
use super::statements::{now, statements};
use super::writer::WriterState;
use crate::store::{
    ClaimOutcome, Epoch, InstanceId, LoadedRaid, Month, OpHash, RaidHead, RaidHeader, RaidRow,
    Result, StoreError,
};

statements! {
    CLAIM =
        "UPDATE raids SET owner = ?2, epoch = epoch + 1 ",
        "WHERE id IN (SELECT value FROM json_each(?1)) AND (owner IS NULL OR owner = ?2 OR NOT EXISTS ",
        "    (SELECT 1 FROM instances WHERE instances.id = raids.owner AND lease_until > ", now!(), ")) ",
        "RETURNING id, epoch";
    HOLDERS =
        "SELECT raids.id, owner, ws_url FROM raids CROSS JOIN instances ON instances.id = raids.owner ",
        "WHERE raids.id IN (SELECT value FROM json_each(?1)) AND owner <> ?2";
    OWNED_RAIDS = "SELECT id, epoch FROM raids WHERE owner = ?1";
    RELEASE =
        "UPDATE raids SET owner = NULL FROM json_each(?1) AS given ",
        "WHERE raids.id = given.value ->> 0 AND raids.epoch = given.value ->> 1 AND raids.owner = ?2";
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
    CONTRIBUTIONS =
        "SELECT seq, at, player, xp, kind, task, note FROM raid_contributions ",
        "WHERE born = (SELECT born FROM raids WHERE id = ?1) AND raid_id = ?1 AND seq > ?2 ",
        "ORDER BY seq LIMIT ?3";
    FIND_OP =
        "SELECT seq FROM raid_events ",
        "WHERE born = (SELECT born FROM raids WHERE id = ?1) AND raid_id = ?1 AND op_key = ?2";
    SAVE_SNAPSHOT =
        "INSERT INTO raid_snapshots (raid_id, seq, state) ",
        "SELECT id, ?4, ?5 FROM raids WHERE id = ?1 AND owner = ?2 AND epoch = ?3 ",
        "ON CONFLICT (raid_id) DO UPDATE SET seq = excluded.seq, state = excluded.state ",
        "    WHERE excluded.seq > raid_snapshots.seq";
    DUE_RAIDS =
        "SELECT id FROM raids WHERE deadline <= ?1 AND status = 'active' AND NOT EXISTS ",
        "    (SELECT 1 FROM instances WHERE instances.id = raids.owner AND instances.id <> ?3 AND lease_until > ", now!(), ") ",
        "ORDER BY deadline, id LIMIT ?2";
    BY_INVITE = "SELECT id FROM raids WHERE invite_code = ?1";
    BY_CREATE_KEY = "SELECT id FROM raids WHERE create_key = ?1";
    EVER_JOINED = "SELECT raid_id FROM raid_visits WHERE player = ?1 AND raid_id > ?2 ORDER BY raid_id LIMIT ?3";
    BY_MEMBER =
        "SELECT raids.* FROM raid_members CROSS JOIN raids ON raids.id = raid_members.raid_id ",
        "WHERE raid_members.player = ?1 AND raid_members.raid_id < ?2 AND (?3 IS NULL OR raids.status = ?3) ",
        "ORDER BY raid_members.raid_id DESC LIMIT ?4";
}

pub(super) async fn claim(
    hand: &mut WriterState,
    raids: &[RaidId],
    instance: InstanceId,
) -> Result<Vec<ClaimOutcome>> {
    const OPERATION: &str = "claim raids";
    let (failed, ids) = (
        failed(OPERATION),
        json_array(raids.iter().map(RaidId::to_string)),
    );
    let mut transaction = hand
        .connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(&failed)?;
    let claim = sqlx::query_as(CLAIM).bind(&ids).bind(instance.0);
    let taken: Vec<(i64, i64)> = claim.fetch_all(&mut *transaction).await.map_err(&failed)?;
    // In this transaction, a raid that we could not claim has an owner with a lease.
    let holders = sqlx::query_as(HOLDERS).bind(ids).bind(instance.0);
    let held: Vec<(i64, Uuid, String)> = holders
        .fetch_all(&mut *transaction)
        .await
        .map_err(&failed)?;
    transaction.commit().await.map_err(failed)?;

    let mut claims = HashMap::new();
    for (raid, epoch) in taken {
        claims.insert(
            raid,
            ClaimOutcome::Acquired(Epoch(unsigned(OPERATION, epoch)?)),
        );
    }
    claims.extend(held.into_iter().map(|(raid, owner, ws_url)| {
        (
            raid,
            ClaimOutcome::Held {
                owner: InstanceId(owner),
                ws_url,
            },
        )
    }));
    let answer = |raid: &RaidId| {
        claims
            .get(&i64::from(*raid))
            .cloned()
            .unwrap_or(ClaimOutcome::Missing)
    };
    Ok(raids.iter().map(answer).collect())
}

pub(super) async fn release(
    hand: &mut WriterState,
    raids: &[(RaidId, Epoch)],
    instance: InstanceId,
) -> Result<()> {
    let raids: Vec<_> = raids
        .iter()
        .map(|(raid, epoch)| format!("[{raid},{}]", epoch.0))
        .collect();
    let raids = format!("[{}]", raids.join(","));
    let release = sqlx::query(RELEASE)
        .bind(raids)
        .bind(instance.0)
        .execute(&mut hand.connection)
        .await;
    release.map(drop).map_err(failed("release raids"))
}

pub(super) async fn save_snapshot(
    hand: &mut WriterState,
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
    save.execute(&mut hand.connection)
        .await
        .map(drop)
        .map_err(failed("save snapshot"))
}

/// Reads a raid in one transaction, so that its parts belong together.
pub(super) async fn load(
    readers: &SqlitePool,
    raid: RaidId,
    op_keys: u64,
) -> Result<Option<LoadedRaid>> {
    const OPERATION: &str = "load raid";
    let (failed, id) = (failed(OPERATION), i64::from(raid));
    let mut transaction = readers.begin().await.map_err(&failed)?;
    let row = sqlx::query_as(MONTH_AND_HEAD)
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(&failed)?;
    let Some((born, owner, epoch, last_seq)) = row else {
        return Ok(None);
    };
    let (born, head): (i32, RaidHead) = (born, raid_head(owner, epoch, last_seq)?);

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
    transaction.rollback().await.map_err(failed)?; // it has only read

    let op = |(key, seq): (Vec<u8>, i64)| {
        let key = key.try_into().map_err(|_| StoreError::Refused {
            operation: OPERATION,
            source: anyhow!("raid {raid}, event {seq}: an op key is not of 16 bytes"),
        })?;
        Ok((OpHash(key), Seq(unsigned(OPERATION, seq)?)))
    };
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
        ops: ops.into_iter().map(op).collect::<Result<_>>()?,
    }))
}

pub(super) async fn heads(
    readers: &SqlitePool,
    raids: &[RaidId],
) -> Result<Vec<(RaidId, RaidHead)>> {
    const OPERATION: &str = "read heads";
    let heads = ledger::heads(
        readers,
        OPERATION,
        raids.iter().map(|raid| i64::from(*raid)),
    )
    .await?;
    heads
        .into_iter()
        .map(|(raid, head)| Ok((raid_id(OPERATION, raid)?, head)))
        .collect()
}

pub(super) async fn owned_raids(
    readers: &SqlitePool,
    instance: InstanceId,
) -> Result<Vec<(RaidId, Epoch)>> {
    const OPERATION: &str = "read owned raids";
    let owned = sqlx::query_as(OWNED_RAIDS)
        .bind(instance.0)
        .fetch_all(readers)
        .await;
    let mut owned: Vec<(i64, i64)> = owned.map_err(failed(OPERATION))?;
    owned.sort_unstable();
    owned
        .into_iter()
        .map(|(raid, epoch)| {
            Ok((
                raid_id(OPERATION, raid)?,
                Epoch(unsigned(OPERATION, epoch)?),
            ))
        })
        .collect()
}

pub(super) async fn events(
    readers: &SqlitePool,
    raid: RaidId,
    after: Seq,
    limit: u32,
) -> Result<Vec<Event>> {
    let events = sqlx::query_as(EVENTS)
        .bind(i64::from(raid))
        .bind(clamped(after.0))
        .bind(limit);
    let rows: Vec<EventRow> = events
        .fetch_all(readers)
        .await
        .map_err(failed("read events"))?;
    rows.into_iter().map(EventRow::decode).collect()
}

pub(super) async fn contributions(
    readers: &SqlitePool,
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
    let rows: Vec<ContributionColumns> =
        rows.fetch_all(readers).await.map_err(failed(OPERATION))?;
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

pub(super) async fn find_op(readers: &SqlitePool, raid: RaidId, op: OpHash) -> Result<Option<Seq>> {
    const OPERATION: &str = "find op";
    let find = sqlx::query_scalar(FIND_OP)
        .bind(i64::from(raid))
        .bind(op.0.to_vec());
    let seq: Option<i64> = find
        .fetch_optional(readers)
        .await
        .map_err(failed(OPERATION))?;
    seq.map(|seq| unsigned(OPERATION, seq).map(Seq)).transpose()
}

pub(super) async fn due_raids(
    readers: &SqlitePool,
    instance: InstanceId,
    until: UnixMillis,
    limit: u32,
) -> Result<Vec<RaidId>> {
    const OPERATION: &str = "find due raids";
    let due = sqlx::query_scalar(DUE_RAIDS)
        .bind(until.0)
        .bind(limit)
        .bind(instance.0);
    let raids: Vec<i64> = due.fetch_all(readers).await.map_err(failed(OPERATION))?;
    raids
        .into_iter()
        .map(|raid| raid_id(OPERATION, raid))
        .collect()
}

pub(super) async fn by_invite(readers: &SqlitePool, code: &str) -> Result<Option<RaidId>> {
    const OPERATION: &str = "find raid by invite code";
    let find = sqlx::query_scalar(BY_INVITE)
        .bind(code)
        .fetch_optional(readers)
        .await;
    find.map_err(failed(OPERATION))?
        .map(|raid| raid_id(OPERATION, raid))
        .transpose()
}

pub(super) async fn by_create_key(readers: &SqlitePool, key: OpHash) -> Result<Option<RaidId>> {
    const OPERATION: &str = "find raid by create key";
    let find = sqlx::query_scalar(BY_CREATE_KEY)
        .bind(key.0.to_vec())
        .fetch_optional(readers)
        .await;
    find.map_err(failed(OPERATION))?
        .map(|raid| raid_id(OPERATION, raid))
        .transpose()
}

pub(super) async fn by_member(
    readers: &SqlitePool,
    player: PlayerId,
    status: Option<RaidStatus>,
    before: Option<RaidId>,
    limit: u32,
) -> Result<Vec<RaidRow>> {
    let rows = sqlx::query(BY_MEMBER)
        .bind(i64::from(player))
        .bind(before.map_or(i64::MAX, i64::from))
        .bind(status.map(RaidStatus::as_str))
        .bind(limit)
        .fetch_all(readers)
        .await
        .map_err(failed("list raids"))?;
    rows.iter().map(raid_row).collect()
}

pub(super) async fn ever_joined(
    readers: &SqlitePool,
    player: PlayerId,
    after: Option<RaidId>,
    limit: u32,
) -> Result<Vec<RaidId>> {
    const OPERATION: &str = "list raids visited";
    let visited = sqlx::query_scalar(EVER_JOINED)
        .bind(i64::from(player))
        .bind(after.map_or(0, i64::from))
        .bind(limit);
    let raids: Vec<i64> = visited
        .fetch_all(readers)
        .await
        .map_err(failed(OPERATION))?;
    raids
        .into_iter()
        .map(|raid| raid_id(OPERATION, raid))
        .collect()
}

pub(super) fn raid_row(row: &SqliteRow) -> Result<RaidRow> {
    const OPERATION: &str = "list raids";
    let number = |column| {
        row.try_get(column)
            .map_err(failed(OPERATION))
            .and_then(|n| unsigned(OPERATION, n))
    };
    let moment = |column| {
        row.try_get(column)
            .map(|at: Option<i64>| at.map(UnixMillis))
            .map_err(failed(OPERATION))
    };
    let text = |column| row.try_get::<String, _>(column).map_err(failed(OPERATION));
    let status = text("status")?;
    let unknown = || StoreError::Refused {
        operation: OPERATION,
        source: anyhow!("unknown status {status}"),
    };
    Ok(RaidRow {
        id: RaidId::try_from(number("id")?).map_err(|error| refused(OPERATION, error))?,
        title: text("title")?,
        invite_code: text("invite_code")?,
        target_xp: number("target_xp")?,
        target_tasks: number("target_tasks")?,
        time_limit_secs: number("time_limit_secs")?,
        created_at: moment("created_at")?.unwrap_or_default(),
        header: RaidHeader {
            status: RaidStatus::ALL
                .into_iter()
                .find(|known| known.as_str() == status)
                .ok_or_else(unknown)?,
            deadline: moment("deadline")?,
            current_xp: number("current_xp")?,
            current_tasks: number("current_tasks")?,
            ended_at: moment("ended_at")?,
        },
        last_seq: Seq(number("last_seq")?),
    })
}

fn raid_id(operation: &'static str, id: i64) -> Result<RaidId> {
    RaidId::try_from(id).map_err(|error| refused(operation, error))
}

/// A number as SQLite knows them; what is larger than any is compared as the largest.
fn clamped(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
