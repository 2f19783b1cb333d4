//! Bans, ended sign-ins, and the notices of both.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, UnixMillis};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::PostgresStore;
use super::audit::bind_audit_entry;
use super::boards::count_scores;
use super::columns::{millis, number, player as player_id};
use super::connections::Statement;
use super::fault;
use crate::store::moderation::NOTICE_RETENTION;
use crate::store::{BanRow, FamilyId, Moderation, NewAuditEntry, Notice, NoticeBatch, Result};

/// Maximum number of times that a ban is tried beside appends to the player's stream.
const BAN_TRIES_MAX: u32 = 64;

/// Locks the player against an erasure, whose ban stays, and against appends. A statement that waited for
/// one does not see the scores that the append has begun, so it changes nothing if the player's row is a
/// newer version than it sees.
const BAN: &str = concat!(
    "
    WITH seen AS MATERIALIZED (
        SELECT xmin AS version FROM players WHERE id = $1
    ), player AS MATERIALIZED (
        SELECT id, xmin AS version FROM players WHERE id = $1 AND erased_at IS NULL FOR NO KEY UPDATE
    ), locked AS MATERIALIZED (
        SELECT id FROM player WHERE version = (SELECT version FROM seen)
    ), changed AS (
        INSERT INTO bans (player, reason, by, at)
        SELECT id, $9, $3, $8 FROM locked
        ON CONFLICT (player) DO UPDATE SET reason = excluded.reason, by = excluded.by, at = excluded.at
        RETURNING player
    ), flagged AS (
        UPDATE players SET is_banned = true WHERE id = (SELECT player FROM changed) AND NOT is_banned
    ), rescored AS (
        UPDATE board_scores SET is_banned = true
        WHERE player = (SELECT player FROM changed) AND NOT is_banned
        RETURNING board, number, score, reached_at,
            CASE WHEN is_public AND NOT is_removed THEN -1 ELSE 0 END AS change
    ), ",
    count_scores!(),
    ", noticed AS (
        INSERT INTO notices (kind, player, until)
        SELECT 'player', player, 'epoch'::timestamptz + $2::bigint * interval '1 millisecond' FROM changed
    ), recorded AS (
        INSERT INTO audit_log (at, actor, action, target, request_id, details)
        SELECT $8, $3, $4, $5, $6, $7::text::jsonb FROM changed
    )
    SELECT EXISTS (SELECT FROM changed) AS changed,
        EXISTS (SELECT FROM player) AND NOT EXISTS (SELECT FROM locked) AS behind"
);

/// Locks the player as a ban does.
const UNBAN: &str = concat!(
    "
    WITH seen AS MATERIALIZED (
        SELECT xmin AS version FROM players WHERE id = $1
    ), player AS MATERIALIZED (
        SELECT id, xmin AS version FROM players WHERE id = $1 AND erased_at IS NULL FOR NO KEY UPDATE
    ), locked AS MATERIALIZED (
        SELECT id FROM player WHERE version = (SELECT version FROM seen)
    ), changed AS (
        DELETE FROM bans
        WHERE player = (SELECT id FROM locked)
        RETURNING player
    ), flagged AS (
        UPDATE players SET is_banned = false WHERE id = (SELECT player FROM changed) AND is_banned
    ), rescored AS (
        UPDATE board_scores SET is_banned = false
        WHERE player = (SELECT player FROM changed) AND is_banned
        RETURNING board, number, score, reached_at,
            CASE WHEN is_listed THEN 1 ELSE 0 END AS change
    ), ",
    count_scores!(),
    ", noticed AS (
        INSERT INTO notices (kind, player, until)
        SELECT 'player', player, 'epoch'::timestamptz + $2::bigint * interval '1 millisecond' FROM changed
    ), recorded AS (
        INSERT INTO audit_log (at, actor, action, target, request_id, details)
        SELECT $8, $3, $4, $5, $6, $7::text::jsonb FROM changed
    )
    SELECT EXISTS (SELECT FROM changed) AS changed,
        EXISTS (SELECT FROM player) AND NOT EXISTS (SELECT FROM locked) AS behind"
);

const DISCONNECT: &str = "
    WITH found AS (
        SELECT id FROM players WHERE id = $1
    ), noticed AS (
        INSERT INTO notices (kind, player, until)
        SELECT 'disconnect', id, 'epoch'::timestamptz + $2::bigint * interval '1 millisecond' FROM found
    ), recorded AS (
        INSERT INTO audit_log (at, actor, action, target, request_id, details)
        SELECT $8, $3, $4, $5, $6, $7::text::jsonb FROM found
    )
    SELECT count(*) FROM found";

const BANS: &str = "
    SELECT b.player AS id, p.name, b.reason, b.by, b.at FROM bans b JOIN players p ON p.id = b.player
    WHERE b.player > $1 ORDER BY b.player LIMIT $2";

const SIGN_OUT: &str = "
    WITH ended AS (UPDATE refresh_families SET revoked = true WHERE id = $1)
    INSERT INTO notices (kind, family, until)
    VALUES ('family', $1, 'epoch'::timestamptz + $2::bigint * interval '1 millisecond')";

/// `next` is the oldest transaction in flight: every notice below it has been returned or never
/// will be committed. Notices above it that are committed already are returned again by the next
/// call.
const NOTICES: &str = "
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS next, n.id, n.kind, n.player, n.family,
        floor(extract(epoch FROM n.until) * 1000)::bigint AS until, b.player IS NOT NULL AS banned
    FROM (SELECT) AS one
    LEFT JOIN notices n ON n.tx >= $1::text::xid8 AND n.until > 'epoch'::timestamptz + $2::bigint * interval '1 millisecond'
    LEFT JOIN bans b ON b.player = n.player
    ORDER BY n.tx, n.id";

/// Deletes a few rows at a time, so that no backlog makes a statement exceed its time limit.
pub(super) const DELETE_EXPIRED_NOTICES: &str = "
    WITH gone AS (
        DELETE FROM notices WHERE id = ANY (ARRAY(
            SELECT id FROM notices WHERE until < 'epoch'::timestamptz + $1::bigint * interval '1 millisecond' ORDER BY until LIMIT 1000))
        RETURNING id
    )
    SELECT count(*) FROM gone";

#[async_trait]
impl Moderation for PostgresStore {
    async fn ban(&self, player: PlayerId, reason: &str, entry: &NewAuditEntry) -> Result<bool> {
        let ban = || bind_moderation(sqlx::query(BAN), player, entry).bind(reason.to_owned());
        self.change_ban("ban a player", ban).await
    }

    async fn unban(&self, player: PlayerId, entry: &NewAuditEntry) -> Result<bool> {
        let unban = || bind_moderation(sqlx::query(UNBAN), player, entry);
        self.change_ban("lift a ban", unban).await
    }

    async fn disconnect(&self, player: PlayerId, entry: &NewAuditEntry) -> Result<bool> {
        Ok(self
            .general_pool
            .fetch_count(
                "disconnect a player",
                bind_moderation(sqlx::query(DISCONNECT), player, entry),
            )
            .await?
            > 0)
    }

    async fn bans(&self, after: Option<PlayerId>, limit: u32) -> Result<Vec<BanRow>> {
        let statement = sqlx::query(BANS)
            .bind(after.map_or(0, i64::from))
            .bind(i64::from(limit));
        self.general_pool
            .fetch_all("read bans", statement, ban)
            .await
    }

    async fn sign_out(&self, family: FamilyId, now: UnixMillis, ttl: Duration) -> Result<()> {
        let statement = sqlx::query(SIGN_OUT)
            .bind(family.0)
            .bind(now.plus(millis(ttl)).0);
        self.general_pool
            .fetch_rows("end a sign-in", statement)
            .await
            .map(drop)
    }

    async fn notices(&self, after: u64, now: UnixMillis) -> Result<NoticeBatch> {
        let statement = sqlx::query(NOTICES).bind(after.to_string()).bind(now.0);
        let rows = self
            .general_pool
            .fetch_all("read notices", statement, notice)
            .await?;
        let next = rows.first().map_or(after, |(next, _)| *next);
        Ok(NoticeBatch {
            notices: rows.into_iter().filter_map(|(_, notice)| notice).collect(),
            next,
        })
    }
}

impl PostgresStore {
    /// Runs a statement that changes a ban, again while appends to the player's stream come between. Each of
    /// them holds the player's row for a moment only.
    async fn change_ban(
        &self,
        operation: &'static str,
        statement: impl Fn() -> Statement,
    ) -> Result<bool> {
        let outcome = |row: &PgRow| Ok((row.try_get("changed")?, row.try_get("behind")?));
        for _ in 0..BAN_TRIES_MAX {
            let ran = self.general_pool.fetch_one(operation, statement(), outcome);
            let (is_changed, is_behind): (bool, bool) = ran.await?;
            if !is_behind {
                return Ok(is_changed);
            }
        }
        let why = "the player's row keeps changing";
        Err(fault::unavailable(operation, std::io::Error::other(why)))
    }
}

/// Binds the first arguments of every moderation statement.
fn bind_moderation(statement: Statement, player: PlayerId, entry: &NewAuditEntry) -> Statement {
    let statement = statement
        .bind(i64::from(player))
        .bind(entry.at.plus(millis(NOTICE_RETENTION)).0);
    bind_audit_entry(statement, entry)
}

fn ban(row: &PgRow) -> sqlx::Result<BanRow> {
    Ok(BanRow {
        player: PlayerRef {
            id: player_id(row, "id")?,
            name: row.try_get("name")?,
        },
        reason: row.try_get("reason")?,
        by: row.try_get("by")?,
        at: UnixMillis(row.try_get("at")?),
    })
}

/// Reads where the next poll continues, and the notice if the row holds one. A notice of a newer
/// release's kind is skipped.
fn notice(row: &PgRow) -> sqlx::Result<(u64, Option<(u64, Notice)>)> {
    let next = number(row, "next")?;
    let Some(kind) = row.try_get::<Option<&str>, _>("kind")? else {
        return Ok((next, None));
    };
    let notice = match kind {
        "player" => Notice::BanChanged {
            player: player_id(row, "player")?,
            banned: row.try_get("banned")?,
        },
        "disconnect" => Notice::Disconnect(player_id(row, "player")?),
        "family" => Notice::SignedOut {
            family: FamilyId(row.try_get::<Uuid, _>("family")?),
            until: UnixMillis(row.try_get("until")?),
        },
        _ => return Ok((next, None)),
    };
    Ok((next, Some((number(row, "id")?, notice))))
}
