//! Bans, ended sign-ins, and the notices of both.

use std::time::Duration;

use anyhow::anyhow;
use async_trait::async_trait;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, UnixMillis};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::SqliteStore;
use super::audit::insert_audit_entry;
use super::boards::set_banned;
use super::fault::{failed, refused, unsigned};
use super::leases::millis;
use super::players::player_id;
use super::statements::statements;
use crate::store::moderation::NOTICE_RETENTION;
use crate::store::{BanRow, FamilyId, Moderation, NewAuditEntry, Notice, NoticeBatch, Result};

statements! {
    BAN =
        "INSERT INTO bans (player, reason, \"by\", at) SELECT id, ?2, ?3, ?4 FROM players ",
        "WHERE id = ?1 AND erased_at IS NULL ",
        "ON CONFLICT (player) DO UPDATE SET reason = excluded.reason, \"by\" = excluded.\"by\", at = excluded.at";
    /// Lifts no ban of an erased account.
    UNBAN =
        "DELETE FROM bans WHERE player = ?1 ",
        "    AND NOT EXISTS (SELECT 1 FROM players WHERE id = ?1 AND erased_at IS NOT NULL)";
    EXISTS = "SELECT id FROM players WHERE id = ?1";
    INSERT_PLAYER_NOTICE = "INSERT INTO notices (kind, player, until) VALUES (?1, ?2, ?3 + ?4)";
    INSERT_FAMILY_NOTICE = "INSERT INTO notices (kind, family, until) VALUES ('family', ?1, ?2 + ?3)";
    DELETE_FAMILY = "DELETE FROM refresh_families WHERE id = ?1";
    BANS =
        "SELECT bans.player, name, reason, \"by\", at FROM bans CROSS JOIN players ON players.id = bans.player ",
        "WHERE bans.player > ?1 ORDER BY bans.player LIMIT ?2";
    /// Ids of notices follow the order of commits.
    NOTICES =
        "SELECT notices.id, kind, notices.player, family, until, bans.player IS NOT NULL ",
        "FROM notices LEFT JOIN bans ON bans.player = notices.player ",
        "WHERE notices.id > ?1 AND until > ?2 ORDER BY notices.id";
    NEWEST_NOTICE = "SELECT coalesce(max(id), 0) FROM notices WHERE id >= ?1";
    /// Deletes a few expired rows with each new one, so that they cannot pile up and no sweep is
    /// needed. The newest row stays, so that ids never go back.
    DELETE_EXPIRED_NOTICES =
        "DELETE FROM notices WHERE id IN ",
        "    (SELECT id FROM notices WHERE until <= ?1 ORDER BY until LIMIT 16)";
}

type NoticeColumns = (i64, String, Option<i64>, Option<Uuid>, i64, bool);

#[async_trait]
impl Moderation for SqliteStore {
    async fn ban(&self, player: PlayerId, reason: &str, entry: &NewAuditEntry) -> Result<bool> {
        self.moderate(ModerationChange::Ban(reason.to_owned()), player, entry)
            .await
    }

    async fn unban(&self, player: PlayerId, entry: &NewAuditEntry) -> Result<bool> {
        self.moderate(ModerationChange::Unban, player, entry).await
    }

    async fn disconnect(&self, player: PlayerId, entry: &NewAuditEntry) -> Result<bool> {
        self.moderate(ModerationChange::Disconnect, player, entry)
            .await
    }

    async fn bans(&self, after: Option<PlayerId>, limit: u32) -> Result<Vec<BanRow>> {
        let read = sqlx::query_as(BANS)
            .bind(after.map_or(0, i64::from))
            .bind(limit)
            .fetch_all(&self.readers);
        let rows: Vec<(i64, String, String, String, i64)> =
            read.await.map_err(failed("read bans"))?;
        let ban = |(id, name, reason, by, at)| {
            Ok(BanRow {
                player: PlayerRef {
                    id: player_id(id)?,
                    name,
                },
                reason,
                by,
                at: UnixMillis(at),
            })
        };
        rows.into_iter().map(ban).collect()
    }

    async fn sign_out(&self, family: FamilyId, now: UnixMillis, ttl: Duration) -> Result<()> {
        let sign_out = self.writer.write("end a sign-in", move |transaction| {
            Box::pin(sign_out(transaction, family, now, ttl))
        });
        sign_out.await
    }

    async fn notices(&self, after: u64, now: UnixMillis) -> Result<NoticeBatch> {
        const OPERATION: &str = "read notices";
        let failed = failed(OPERATION);
        let from = i64::try_from(after).map_err(|error| refused(OPERATION, error))?;
        // One transaction, so that both reads see the same notices.
        let mut reading = self.readers.begin().await.map_err(&failed)?;
        let rows: Vec<NoticeColumns> = sqlx::query_as(NOTICES)
            .bind(from)
            .bind(now.0)
            .fetch_all(&mut *reading)
            .await
            .map_err(&failed)?;
        let newest: i64 = sqlx::query_scalar(NEWEST_NOTICE)
            .bind(from)
            .fetch_one(&mut *reading)
            .await
            .map_err(&failed)?;
        reading.commit().await.map_err(failed)?;
        let notices = rows
            .into_iter()
            .filter_map(|row| notice(row).transpose())
            .collect::<Result<_>>()?;
        Ok(NoticeBatch {
            notices,
            next: unsigned(OPERATION, newest)?.max(after),
        })
    }
}

enum ModerationChange {
    Ban(String),
    Unban,
    Disconnect,
}

impl SqliteStore {
    async fn moderate(
        &self,
        change: ModerationChange,
        player: PlayerId,
        entry: &NewAuditEntry,
    ) -> Result<bool> {
        let entry = entry.clone();
        let change = self.writer.write("moderate a player", move |transaction| {
            Box::pin(async move { apply_change(transaction, &change, player, &entry).await })
        });
        change.await
    }
}

async fn apply_change(
    transaction: &mut SqliteConnection,
    change: &ModerationChange,
    player: PlayerId,
    entry: &NewAuditEntry,
) -> Result<bool> {
    let failed = failed("moderate a player");
    let id = i64::from(player);
    let found = match change {
        ModerationChange::Ban(reason) => {
            let ban = sqlx::query(BAN)
                .bind(id)
                .bind(reason)
                .bind(&entry.actor)
                .bind(entry.at.0)
                .execute(&mut *transaction);
            ban.await.map_err(&failed)?.rows_affected() > 0
        }
        ModerationChange::Unban => {
            let unban = sqlx::query(UNBAN).bind(id).execute(&mut *transaction);
            unban.await.map_err(&failed)?.rows_affected() > 0
        }
        ModerationChange::Disconnect => {
            let found: Option<(i64,)> = sqlx::query_as(EXISTS)
                .bind(id)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(&failed)?;
            found.is_some()
        }
    };
    if !found {
        return Ok(false);
    }
    let (kind, is_banned) = match change {
        ModerationChange::Ban(_) => ("player", Some(true)),
        ModerationChange::Unban => ("player", Some(false)),
        ModerationChange::Disconnect => ("disconnect", None),
    };
    if let Some(is_banned) = is_banned {
        let set = set_banned(transaction, id, is_banned).await;
        set.map_err(&failed)?;
    }
    insert_player_notice(transaction, kind, player, entry.at).await?;
    insert_audit_entry(transaction, entry).await?;
    Ok(true)
}

async fn sign_out(
    transaction: &mut SqliteConnection,
    family: FamilyId,
    now: UnixMillis,
    ttl: Duration,
) -> Result<()> {
    let failed = failed("end a sign-in");
    delete_expired_notices(transaction, now).await?;
    let end = sqlx::query(DELETE_FAMILY)
        .bind(family.0)
        .execute(&mut *transaction);
    end.await.map_err(&failed)?;
    let notice = sqlx::query(INSERT_FAMILY_NOTICE)
        .bind(family.0)
        .bind(now.0)
        .bind(millis(ttl));
    notice.execute(&mut *transaction).await.map_err(&failed)?;
    Ok(())
}

/// Adds a notice about a player, in the connection's current transaction if there is one.
pub(super) async fn insert_player_notice(
    connection: &mut SqliteConnection,
    kind: &str,
    player: PlayerId,
    now: UnixMillis,
) -> Result<()> {
    delete_expired_notices(connection, now).await?;
    let notice = sqlx::query(INSERT_PLAYER_NOTICE)
        .bind(kind)
        .bind(i64::from(player))
        .bind(now.0)
        .bind(millis(NOTICE_RETENTION));
    notice
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed("add a player notice"))
}

async fn delete_expired_notices(connection: &mut SqliteConnection, now: UnixMillis) -> Result<()> {
    let forget = sqlx::query(DELETE_EXPIRED_NOTICES)
        .bind(now.0)
        .execute(connection)
        .await;
    forget.map(drop).map_err(failed("delete notices"))
}

/// Reads a notice; `None` if its kind is a newer release's.
fn notice(
    (id, kind, player, family, until, banned): NoticeColumns,
) -> Result<Option<(u64, Notice)>> {
    const OPERATION: &str = "read notices";
    let missing = || {
        refused(
            OPERATION,
            std::io::Error::other(anyhow!("notice {id} has no subject")),
        )
    };
    let player = || player_id(player.ok_or_else(missing)?);
    let notice = match kind.as_str() {
        "player" => Notice::BanChanged {
            player: player()?,
            banned,
        },
        "disconnect" => Notice::Disconnect(player()?),
        "family" => Notice::SignedOut {
            family: FamilyId(family.ok_or_else(missing)?),
            until: UnixMillis(until),
        },
        _ => return Ok(None),
    };
    Ok(Some((unsigned(OPERATION, id)?, notice)))
}
