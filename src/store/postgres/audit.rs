//! The audit log, and the lookups of operators.

use async_trait::async_trait;
use raidhall_protocol::UnixMillis;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::PostgresStore;
use super::catalog::raid_row;
use super::columns::{self, number};
use super::connections::Statement;
use super::players::profile;
use crate::store::audit::AuditRow;
use crate::store::{
    AuditLog, InstanceRow, Lookups, NewAuditEntry, PlayerLookup, PlayerRow, RaidLookup, RaidRow,
    Result,
};

const INSERT_AUDIT_ENTRY: &str = "
    INSERT INTO audit_log (at, actor, action, target, request_id, details)
    VALUES ($6, $1, $2, $3, $4, $5::text::jsonb)";

const AUDIT_ENTRIES: &str = "
    SELECT id, at, actor, action, target, request_id, details::text AS details
    FROM audit_log WHERE id > $1 ORDER BY id LIMIT $2";

const PLAYER_BY_ID: &str = "
    SELECT p.id, p.name, p.xp, p.tasks, p.raids_won, p.created_at, p.external_id, b.reason
    FROM players p LEFT JOIN bans b ON b.player = p.id WHERE p.id = $1 LIMIT $2";

const PLAYER_BY_EXTERNAL_ID: &str = "
    SELECT p.id, p.name, p.xp, p.tasks, p.raids_won, p.created_at, p.external_id, b.reason
    FROM players p LEFT JOIN bans b ON b.player = p.id WHERE p.external_id = $1 LIMIT $2";

/// The range from the prefix to the prefix followed by the last Unicode character, within the 64
/// characters that the index covers.
const PLAYERS_BY_NAME: &str = "
    SELECT p.id, p.name, p.xp, p.tasks, p.raids_won, p.created_at, p.external_id, b.reason
    FROM players p LEFT JOIN bans b ON b.player = p.id
    WHERE left(lower(p.name), 64) ~>=~ left(lower($1), 64)
        AND left(lower(p.name), 64) ~<~ (left(lower($1), 64) || chr(1114111))
        AND starts_with(lower(p.name), lower($1))
    ORDER BY left(lower(p.name), 64) USING ~<~, p.id LIMIT $2";

const RAID_BY_ID: &str = "
    SELECT id, title, invite_code, target_xp, target_tasks, time_limit_secs, created_at, status, deadline, current_xp,
        current_tasks, ended_at, last_seq
    FROM raids WHERE id = $1 LIMIT $2";

const RAIDS_BY_TITLE: &str = "
    SELECT id, title, invite_code, target_xp, target_tasks, time_limit_secs, created_at, status, deadline, current_xp,
        current_tasks, ended_at, last_seq
    FROM raids
    WHERE left(lower(title), 64) ~>=~ left(lower($1), 64)
        AND left(lower(title), 64) ~<~ (left(lower($1), 64) || chr(1114111))
        AND starts_with(lower(title), lower($1))
    ORDER BY left(lower(title), 64) USING ~<~, id LIMIT $2";

const INSTANCES: &str = "
    SELECT id, ws_url, release, draining, floor(extract(epoch FROM lease_until) * 1000)::bigint AS lease_until
    FROM instances WHERE lease_until > clock_timestamp() ORDER BY id";

#[async_trait]
impl AuditLog for PostgresStore {
    async fn record_audit(&self, entry: &NewAuditEntry) -> Result<()> {
        let statement = bind_audit_entry(sqlx::query(INSERT_AUDIT_ENTRY), entry);
        self.general_pool
            .fetch_rows("write audit entry", statement)
            .await
            .map(drop)
    }

    async fn audit_entries(&self, after: u64, limit: u32) -> Result<Vec<AuditRow>> {
        let statement = sqlx::query(AUDIT_ENTRIES)
            .bind(columns::clamped(after))
            .bind(i64::from(limit));
        self.general_pool
            .fetch_all("read the audit log", statement, audit_row)
            .await
    }
}

#[async_trait]
impl Lookups for PostgresStore {
    async fn find_players(&self, lookup: &PlayerLookup, limit: u32) -> Result<Vec<PlayerRow>> {
        let statement = match lookup {
            PlayerLookup::Id(id) => sqlx::query(PLAYER_BY_ID).bind(i64::from(*id)),
            PlayerLookup::ExternalId(id) => sqlx::query(PLAYER_BY_EXTERNAL_ID).bind(id.clone()),
            PlayerLookup::Name(name) => sqlx::query(PLAYERS_BY_NAME).bind(name.clone()),
        };
        self.general_pool
            .fetch_all("find players", statement.bind(i64::from(limit)), player_row)
            .await
    }

    async fn find_raids(&self, lookup: &RaidLookup, limit: u32) -> Result<Vec<RaidRow>> {
        let statement = match lookup {
            RaidLookup::Id(id) => sqlx::query(RAID_BY_ID).bind(i64::from(*id)),
            RaidLookup::Title(title) => sqlx::query(RAIDS_BY_TITLE).bind(title.clone()),
        };
        self.general_pool
            .fetch_all("find raids", statement.bind(i64::from(limit)), raid_row)
            .await
    }

    async fn instances(&self) -> Result<Vec<InstanceRow>> {
        self.general_pool
            .fetch_all("list instances", sqlx::query(INSTANCES), instance_row)
            .await
    }
}

/// Binds the columns of an audit entry.
pub(super) fn bind_audit_entry(statement: Statement, entry: &NewAuditEntry) -> Statement {
    statement
        .bind(entry.actor.clone())
        .bind(entry.action)
        .bind(entry.target.clone())
        .bind(entry.request_id.clone())
        .bind(entry.details.to_string())
        .bind(entry.at.0)
}

fn audit_row(row: &PgRow) -> sqlx::Result<AuditRow> {
    let details: &str = row.try_get("details")?;
    Ok(AuditRow {
        id: number(row, "id")?,
        at: UnixMillis(row.try_get("at")?),
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        target: row.try_get("target")?,
        request_id: row.try_get("request_id")?,
        details: serde_json::from_str(details)
            .map_err(|error| sqlx::Error::Decode(error.into()))?,
    })
}

fn player_row(row: &PgRow) -> sqlx::Result<PlayerRow> {
    Ok(PlayerRow {
        profile: profile(row)?,
        external_id: row.try_get("external_id")?,
        ban: row.try_get("reason")?,
    })
}

fn instance_row(row: &PgRow) -> sqlx::Result<InstanceRow> {
    let id = columns::instance(row, "id")?.ok_or(sqlx::Error::RowNotFound)?;
    Ok(InstanceRow {
        id,
        ws_url: row.try_get("ws_url")?,
        release: row.try_get("release")?,
        draining: row.try_get("draining")?,
        lease_until: UnixMillis(row.try_get("lease_until")?),
    })
}
