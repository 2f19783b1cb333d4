//! The audit log, and the lookups of operators.

use async_trait::async_trait;
use raidhall_protocol::UnixMillis;
use raidhall_protocol::rest::Profile;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::SqliteStore;
use super::catalog::raid_row;
use super::fault::{failed, refused, unsigned};
use super::players::player_id;
use super::statements::{now, statements};
use crate::store::audit::AuditRow;
use crate::store::{
    AuditLog, InstanceId, InstanceRow, Lookups, NewAuditEntry, PlayerLookup, PlayerRow, RaidLookup,
    RaidRow, Result,
};

statements! {
    INSERT_AUDIT_ENTRY =
        "INSERT INTO audit_log (at, actor, action, target, request_id, details) ",
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    AUDIT_ENTRIES =
        "SELECT id, at, actor, action, target, request_id, details FROM audit_log ",
        "WHERE id > ?1 ORDER BY id LIMIT ?2";
    PLAYER_BY_ID =
        "SELECT id, name, xp, tasks, raids_won, created_at, external_id, reason ",
        "FROM players LEFT JOIN bans ON bans.player = players.id WHERE players.id = ?1 LIMIT ?2";
    PLAYER_BY_EXTERNAL_ID =
        "SELECT id, name, xp, tasks, raids_won, created_at, external_id, reason ",
        "FROM players LEFT JOIN bans ON bans.player = players.id WHERE players.external_id = ?1 LIMIT ?2";
    /// The range from the prefix to the prefix followed by the last Unicode character.
    PLAYERS_BY_NAME =
        "SELECT id, name, xp, tasks, raids_won, created_at, external_id, reason ",
        "FROM players LEFT JOIN bans ON bans.player = players.id ",
        "WHERE lower(players.name) >= lower(?1) AND lower(players.name) < lower(?1) || char(1114111) ",
        "ORDER BY lower(players.name), players.id LIMIT ?2";
    RAID_BY_ID = "SELECT * FROM raids WHERE id = ?1 LIMIT ?2";
    RAIDS_BY_TITLE =
        "SELECT * FROM raids WHERE lower(title) >= lower(?1) AND lower(title) < lower(?1) || char(1114111) ",
        "ORDER BY lower(title), id LIMIT ?2";
    INSTANCES =
        "SELECT id, ws_url, release, draining, lease_until FROM instances WHERE lease_until > ", now!(), " ORDER BY id";
}

type AuditColumns = (i64, i64, String, String, String, String, String);
type PlayerColumns = (
    i64,
    String,
    i64,
    i64,
    i64,
    i64,
    Option<String>,
    Option<String>,
);

#[async_trait]
impl AuditLog for SqliteStore {
    async fn record_audit(&self, entry: &NewAuditEntry) -> Result<()> {
        let entry = entry.clone();
        let write = self.writer.write("write audit entry", move |transaction| {
            Box::pin(async move { insert_audit_entry(&mut *transaction, &entry).await })
        });
        write.await
    }

    async fn audit_entries(&self, after: u64, limit: u32) -> Result<Vec<AuditRow>> {
        const OPERATION: &str = "read the audit log";
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let read = sqlx::query_as(AUDIT_ENTRIES)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.readers);
        let rows: Vec<AuditColumns> = read.await.map_err(failed(OPERATION))?;
        let recorded = |(id, at, actor, action, target, request_id, details): AuditColumns| {
            let details =
                serde_json::from_str(&details).map_err(|error| refused(OPERATION, error))?;
            let id = unsigned(OPERATION, id)?;
            let at = UnixMillis(at);
            Ok(AuditRow {
                id,
                at,
                actor,
                action,
                target,
                request_id,
                details,
            })
        };
        rows.into_iter().map(recorded).collect()
    }
}

#[async_trait]
impl Lookups for SqliteStore {
    async fn find_players(&self, lookup: &PlayerLookup, limit: u32) -> Result<Vec<PlayerRow>> {
        let statement = match lookup {
            PlayerLookup::Id(id) => sqlx::query_as(PLAYER_BY_ID).bind(i64::from(*id)),
            PlayerLookup::ExternalId(id) => sqlx::query_as(PLAYER_BY_EXTERNAL_ID).bind(id),
            PlayerLookup::Name(name) => sqlx::query_as(PLAYERS_BY_NAME).bind(name),
        };
        let found = statement.bind(limit).fetch_all(&self.readers).await;
        let rows: Vec<PlayerColumns> = found.map_err(failed("find players"))?;
        rows.into_iter().map(player_row).collect()
    }

    async fn find_raids(&self, lookup: &RaidLookup, limit: u32) -> Result<Vec<RaidRow>> {
        let statement = match lookup {
            RaidLookup::Id(id) => sqlx::query(RAID_BY_ID).bind(i64::from(*id)),
            RaidLookup::Title(title) => sqlx::query(RAIDS_BY_TITLE).bind(title),
        };
        let rows = statement
            .bind(limit)
            .fetch_all(&self.readers)
            .await
            .map_err(failed("find raids"))?;
        rows.iter().map(raid_row).collect()
    }

    async fn instances(&self) -> Result<Vec<InstanceRow>> {
        let rows = sqlx::query_as(INSTANCES).fetch_all(&self.readers).await;
        let rows: Vec<(Uuid, String, String, bool, i64)> =
            rows.map_err(failed("list instances"))?;
        let row = |(id, ws_url, release, draining, until)| InstanceRow {
            id: InstanceId(id),
            ws_url,
            release,
            draining,
            lease_until: UnixMillis(until),
        };
        Ok(rows.into_iter().map(row).collect())
    }
}

/// Writes an audit entry, in the connection's current transaction if there is one.
pub(super) async fn insert_audit_entry(
    connection: &mut SqliteConnection,
    entry: &NewAuditEntry,
) -> Result<()> {
    let record = sqlx::query(INSERT_AUDIT_ENTRY)
        .bind(entry.at.0)
        .bind(&entry.actor)
        .bind(entry.action)
        .bind(&entry.target)
        .bind(&entry.request_id)
        .bind(entry.details.to_string());
    record
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed("write audit entry"))
}

fn player_row(row: PlayerColumns) -> Result<PlayerRow> {
    const OPERATION: &str = "find players";
    let (id, name, xp, tasks, raids_won, created_at, external_id, ban) = row;
    let profile = Profile {
        id: player_id(id)?,
        name,
        xp: unsigned(OPERATION, xp)?,
        tasks: unsigned(OPERATION, tasks)?,
        raids_won: unsigned(OPERATION, raids_won)?,
        created_at: UnixMillis(created_at),
    };
    Ok(PlayerRow {
        profile,
        external_id,
        ban,
    })
}
