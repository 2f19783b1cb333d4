//! The catalog: new raid ids, and lookups of raids by invite code, create key or member.

use std::ops::Range;

use async_trait::async_trait;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{PlayerId, RaidId, UnixMillis};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::PostgresStore;
use super::columns::{clamped, decode, header, number, player, raid, seq};
use crate::store::{Catalog, OpHash, RaidMembers, RaidRow, Result};

/// Advisory lock that is held while ids are reserved, so that each range is contiguous.
const RESERVATION_LOCK: i64 = 0x7261_6964_0003;

const RESERVE_IDS: &str = "
    WITH undisturbed AS MATERIALIZED (SELECT pg_advisory_xact_lock($2)),
        reserved AS MATERIALIZED (SELECT nextval('raid_ids') AS first FROM undisturbed)
    SELECT first, setval('raid_ids', first + $1 - 1) FROM reserved";

const BY_INVITE: &str = "SELECT id FROM raids WHERE invite_code = $1";

const BY_CREATE_KEY: &str = "SELECT id FROM raids WHERE create_key = $1";

const BY_MEMBER: &str = "
    SELECT r.id, r.title, r.invite_code, r.target_xp, r.target_tasks, r.time_limit_secs, r.created_at, r.status,
        r.deadline, r.current_xp, r.current_tasks, r.ended_at, r.last_seq
    FROM raid_members m JOIN raids r ON r.id = m.raid_id
    WHERE m.player = $1 AND m.member AND m.raid_id < $2 AND ($3::text IS NULL OR r.status = $3)
    ORDER BY m.raid_id DESC
    LIMIT $4";

const MEMBERS: &str = "
    SELECT r.id,
        (SELECT count(*) FROM raid_members WHERE raid_id = r.id AND member) AS count,
        (SELECT coalesce(json_agg(json_build_object('id', f.player, 'name', p.name)
            ORDER BY f.joined_at, f.player), '[]')::text
        FROM (
            SELECT player, joined_at FROM raid_members WHERE raid_id = r.id AND member
            ORDER BY joined_at, player LIMIT $2
        ) f JOIN LATERAL (SELECT name FROM players WHERE id = f.player LIMIT 1) p ON true) AS first
    FROM raids r
    WHERE r.id = ANY ($1)";

/// Includes raids that the player has left.
const EVER_JOINED: &str = "
    SELECT raid_id FROM raid_members WHERE player = $1 AND raid_id > $2 ORDER BY raid_id LIMIT $3";

const FILTER_EVER_JOINED: &str = "
    SELECT m.raid_id, m.player
    FROM unnest($1::bigint[], $2::bigint[]) AS given (raid, player)
    JOIN raid_members AS m ON m.player = given.player AND m.raid_id = given.raid";

#[async_trait]
impl Catalog for PostgresStore {
    async fn reserve_raid_ids(&self, count: u32) -> Result<Range<u64>> {
        if count == 0 {
            return Ok(0..0);
        }
        let statement = sqlx::query(RESERVE_IDS)
            .bind(i64::from(count))
            .bind(RESERVATION_LOCK);
        let first = self
            .general_pool
            .fetch_one("reserve raid ids", statement, |row| number(row, "first"))
            .await?;
        Ok(first..first + u64::from(count))
    }

    async fn raid_by_invite(&self, code: &str) -> Result<Option<RaidId>> {
        let statement = sqlx::query(BY_INVITE).bind(code.to_owned());
        self.general_pool
            .fetch_optional("find a raid by invite code", statement, |row| {
                raid(row, "id")
            })
            .await
    }

    async fn raid_by_create_key(&self, key: OpHash) -> Result<Option<RaidId>> {
        let statement = sqlx::query(BY_CREATE_KEY).bind(key.0);
        self.general_pool
            .fetch_optional("find a raid by create key", statement, |row| {
                raid(row, "id")
            })
            .await
    }

    async fn raids_by_member(
        &self,
        player: PlayerId,
        status: Option<RaidStatus>,
        before: Option<RaidId>,
        limit: u32,
    ) -> Result<Vec<RaidRow>> {
        let statement = sqlx::query(BY_MEMBER)
            .bind(i64::from(player))
            .bind(clamped(before.map_or(u64::MAX, RaidId::get)))
            .bind(status.map(RaidStatus::as_str))
            .bind(i64::from(limit));
        self.general_pool
            .fetch_all("read a player's raids", statement, raid_row)
            .await
    }

    async fn raid_members(&self, raids: &[RaidId], limit: u32) -> Result<Vec<RaidMembers>> {
        let page: Vec<i64> = raids.iter().copied().map(i64::from).collect();
        let statement = sqlx::query(MEMBERS).bind(page).bind(i64::from(limit));
        self.general_pool
            .fetch_all("list members of raids", statement, |row| {
                Ok(RaidMembers {
                    raid: raid(row, "id")?,
                    count: number(row, "count")?.try_into().map_err(decode)?,
                    first: serde_json::from_str(row.try_get("first")?).map_err(decode)?,
                })
            })
            .await
    }

    async fn raids_ever_joined(
        &self,
        player: PlayerId,
        after: Option<RaidId>,
        limit: u32,
    ) -> Result<Vec<RaidId>> {
        let after = after.map_or(0, i64::from);
        let statement = sqlx::query(EVER_JOINED)
            .bind(i64::from(player))
            .bind(after)
            .bind(i64::from(limit));
        self.general_pool
            .fetch_all("list raids ever joined", statement, |row| {
                raid(row, "raid_id")
            })
            .await
    }

    async fn filter_ever_joined(
        &self,
        pairs: &[(RaidId, PlayerId)],
    ) -> Result<Vec<(RaidId, PlayerId)>> {
        let (raids, players): (Vec<i64>, Vec<i64>) = pairs
            .iter()
            .map(|(raid, player)| (i64::from(*raid), i64::from(*player)))
            .unzip();
        let statement = sqlx::query(FILTER_EVER_JOINED).bind(raids).bind(players);
        self.session_pool
            .fetch_all("filter present and former members", statement, |row| {
                Ok((raid(row, "raid_id")?, player(row, "player")?))
            })
            .await
    }
}

pub(super) fn raid_row(row: &PgRow) -> sqlx::Result<RaidRow> {
    Ok(RaidRow {
        id: raid(row, "id")?,
        title: row.try_get("title")?,
        invite_code: row.try_get("invite_code")?,
        target_xp: number(row, "target_xp")?,
        target_tasks: number(row, "target_tasks")?,
        time_limit_secs: number(row, "time_limit_secs")?,
        created_at: UnixMillis(row.try_get("created_at")?),
        header: header(row)?,
        last_seq: seq(row, "last_seq")?,
    })
}
