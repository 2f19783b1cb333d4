//! The catalog: new raid ids, and lookups of raids by invite code, create key or member.

use std::ops::Range;

use anyhow::anyhow;
use async_trait::async_trait;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{PlayerId, RaidId, Seq, UnixMillis};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::SqliteStore;
use super::commit::json_array;
use super::fault::{failed, refused, unsigned};
use super::ownership::raid_id;
use super::players::player_id;
use super::statements::statements;
use crate::store::{Catalog, OpHash, RaidHeader, RaidMembers, RaidRow, Result, StoreError};

statements! {
    RESERVE_RAID_IDS = "UPDATE raid_ids SET reserved = reserved + ?1 RETURNING reserved";
    BY_INVITE = "SELECT id FROM raids WHERE invite_code = ?1";
    BY_CREATE_KEY = "SELECT id FROM raids WHERE create_key = ?1";
    BY_MEMBER =
        "SELECT raids.* FROM raid_members CROSS JOIN raids ON raids.id = raid_members.raid_id ",
        "WHERE raid_members.player = ?1 AND raid_members.raid_id < ?2 AND (?3 IS NULL OR raids.status = ?3) ",
        "ORDER BY raid_members.raid_id DESC LIMIT ?4";
    MEMBERS =
        "SELECT raids.id, (SELECT count(*) FROM raid_members WHERE raid_id = raids.id) AS count, ",
        "    (SELECT json_group_array(json_object('id', id, 'name', name)) FROM ( ",
        "        SELECT players.id, players.name ",
        "        FROM raid_members CROSS JOIN players ON players.id = raid_members.player ",
        "        WHERE raid_members.raid_id = raids.id ORDER BY joined_at, player LIMIT ?2 ",
        "    )) AS first ",
        "FROM json_each(?1) AS page CROSS JOIN raids ON raids.id = page.value";
    EVER_JOINED = "SELECT raid_id FROM raid_visits WHERE player = ?1 AND raid_id > ?2 ORDER BY raid_id LIMIT ?3";
    FILTER_EVER_JOINED =
        "SELECT raid_id, player FROM json_each(?1) AS given ",
        "JOIN raid_visits ON player = given.value ->> 1 AND raid_id = given.value ->> 0";
}

#[async_trait]
impl Catalog for SqliteStore {
    async fn reserve_raid_ids(&self, count: u32) -> Result<Range<u64>> {
        let reserve = self.writer.write("reserve raid ids", move |transaction| {
            Box::pin(reserve_raid_ids(transaction, count))
        });
        reserve.await
    }

    async fn raid_by_invite(&self, code: &str) -> Result<Option<RaidId>> {
        const OPERATION: &str = "find raid by invite code";
        let find = sqlx::query_scalar(BY_INVITE)
            .bind(code)
            .fetch_optional(&self.readers)
            .await;
        find.map_err(failed(OPERATION))?
            .map(|raid| raid_id(OPERATION, raid))
            .transpose()
    }

    async fn raid_by_create_key(&self, key: OpHash) -> Result<Option<RaidId>> {
        const OPERATION: &str = "find raid by create key";
        let find = sqlx::query_scalar(BY_CREATE_KEY)
            .bind(key.0.to_vec())
            .fetch_optional(&self.readers)
            .await;
        find.map_err(failed(OPERATION))?
            .map(|raid| raid_id(OPERATION, raid))
            .transpose()
    }

    async fn raids_by_member(
        &self,
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
            .fetch_all(&self.readers)
            .await
            .map_err(failed("list raids"))?;
        rows.iter().map(raid_row).collect()
    }

    async fn raid_members(&self, raids: &[RaidId], limit: u32) -> Result<Vec<RaidMembers>> {
        const OPERATION: &str = "list members of raids";
        let page = serde_json::to_string(raids).map_err(|error| refused(OPERATION, error))?;
        let rows: Vec<(i64, u32, String)> = sqlx::query_as(MEMBERS)
            .bind(page)
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(failed(OPERATION))?;
        let members = |(raid, count, first): (i64, u32, String)| {
            Ok(RaidMembers {
                raid: raid_id(OPERATION, raid)?,
                count,
                first: serde_json::from_str(&first).map_err(|error| refused(OPERATION, error))?,
            })
        };
        rows.into_iter().map(members).collect()
    }

    async fn raids_ever_joined(
        &self,
        player: PlayerId,
        after: Option<RaidId>,
        limit: u32,
    ) -> Result<Vec<RaidId>> {
        const OPERATION: &str = "list raids ever joined";
        let visited = sqlx::query_scalar(EVER_JOINED)
            .bind(i64::from(player))
            .bind(after.map_or(0, i64::from))
            .bind(limit);
        let raids: Vec<i64> = visited
            .fetch_all(&self.readers)
            .await
            .map_err(failed(OPERATION))?;
        raids
            .into_iter()
            .map(|raid| raid_id(OPERATION, raid))
            .collect()
    }

    async fn filter_ever_joined(
        &self,
        pairs: &[(RaidId, PlayerId)],
    ) -> Result<Vec<(RaidId, PlayerId)>> {
        const OPERATION: &str = "filter present and former members";
        let given = json_array(
            pairs
                .iter()
                .map(|(raid, player)| format!("[{raid},{player}]")),
        );
        let joined = sqlx::query_as(FILTER_EVER_JOINED).bind(given);
        let joined: Vec<(i64, i64)> = joined
            .fetch_all(&self.readers)
            .await
            .map_err(failed(OPERATION))?;
        joined
            .into_iter()
            .map(|(raid, player)| Ok((raid_id(OPERATION, raid)?, player_id(player)?)))
            .collect()
    }
}

async fn reserve_raid_ids(transaction: &mut SqliteConnection, count: u32) -> Result<Range<u64>> {
    const OPERATION: &str = "reserve raid ids";
    let reserve = sqlx::query_scalar(RESERVE_RAID_IDS).bind(count);
    let last: i64 = reserve
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed(OPERATION))?;
    let end = unsigned(OPERATION, last)? + 1;
    Ok(end - u64::from(count)..end)
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
