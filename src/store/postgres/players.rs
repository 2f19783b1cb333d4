//! Players, their totals and their sign-ins.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::rest::Profile;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, UnixMillis};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::PostgresStore;
use super::columns::{millis, number, player as player_id};
use crate::store::{
    Account, Accounts, DeletedGuests, FamilyId, Result, RotationOutcome, RotationRequest,
    SIGN_INS_MAX, SignIn, TokenHash,
};

const CREATE_PLAYER: &str = "
    INSERT INTO players (name, created_at) VALUES ($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
    RETURNING id, name, xp, tasks, raids_won, created_at";

const PLAYER: &str = "SELECT id, name, xp, tasks, raids_won, created_at FROM players WHERE id = $1";

const ACCOUNT: &str = "
    SELECT p.id, p.name, p.xp, p.tasks, p.raids_won, p.created_at, p.external_id, f.renewed_at, f.expires_at
    FROM players p LEFT JOIN LATERAL (
        SELECT floor(extract(epoch FROM rotated_at) * 1000)::bigint AS renewed_at,
            floor(extract(epoch FROM expires_at) * 1000)::bigint AS expires_at
        FROM refresh_families
        WHERE player = p.id AND NOT revoked AND expires_at > 'epoch'::timestamptz + $3::bigint * interval '1 millisecond' LIMIT $2
    ) f ON true
    WHERE p.id = $1";

const CREATE_TOKEN_FAMILY: &str = "
    INSERT INTO refresh_families (id, player, current, rotated_at, expires_at)
    VALUES ($1, $2, $3, 'epoch'::timestamptz + $4::bigint * interval '1 millisecond',
        'epoch'::timestamptz + $5::bigint * interval '1 millisecond')";

/// Of two concurrent calls with the same token, the second waits for the row and then finds its
/// token to be the previous one: Postgres evaluates the conditions and the new values again on the
/// updated row.
const ROTATE_REFRESH_TOKEN: &str = "
    UPDATE refresh_families f SET
        previous = CASE WHEN f.current = $2 THEN f.current ELSE f.previous END,
        current = CASE WHEN f.current = $2 THEN $3 ELSE f.current END,
        rotated_at = CASE WHEN f.current = $2 THEN 'epoch'::timestamptz + $4::bigint * interval '1 millisecond' ELSE f.rotated_at END,
        expires_at = 'epoch'::timestamptz + $5::bigint * interval '1 millisecond',
        revoked = f.current <> $2 AND f.previous IS DISTINCT FROM $2
    FROM players p
    WHERE f.id = $1 AND NOT f.revoked AND f.expires_at > 'epoch'::timestamptz + $4::bigint * interval '1 millisecond' AND p.id = f.player
    RETURNING f.revoked, f.current, p.id, p.name";

/// The lateral subqueries leave the planner no choice but an index. Players and then their sign-ins
/// are locked before they are deleted, and checked again as concurrent statements left them. A
/// sign-in that is created between the beginning of the statement and the lock fails the statement
/// by its foreign key.
const DELETE_UNUSED_GUESTS: &str = "
    WITH batch AS MATERIALIZED (
        SELECT id, created_at, external_id, erased_at FROM players WHERE id > $1 ORDER BY id LIMIT $2
    ), limits AS MATERIALIZED (
        SELECT 'epoch'::timestamptz + $3::bigint * interval '1 millisecond' AS unused_since,
            'epoch'::timestamptz + $4::bigint * interval '1 millisecond' AS now
    ), unused AS MATERIALIZED (
        SELECT b.id FROM batch b CROSS JOIN limits l
        LEFT JOIN LATERAL (SELECT true AS found FROM raid_members m WHERE m.player = b.id LIMIT 1) joined ON true
        LEFT JOIN LATERAL (SELECT true AS found FROM bans WHERE bans.player = b.id LIMIT 1) banned ON true
        LEFT JOIN LATERAL (
            SELECT true AS found FROM refresh_families f
            WHERE f.player = b.id AND (f.rotated_at >= l.unused_since OR NOT f.revoked AND f.expires_at > l.now)
            LIMIT 1
        ) seen ON true
        WHERE b.created_at < $3 AND b.external_id IS NULL AND b.erased_at IS NULL
            AND joined.found IS NULL AND banned.found IS NULL AND seen.found IS NULL
    ), locked AS MATERIALIZED (
        SELECT id FROM players
        WHERE id = ANY (ARRAY(SELECT id FROM unused)) AND external_id IS NULL AND erased_at IS NULL
        ORDER BY id
        FOR UPDATE
    ), families AS MATERIALIZED (
        SELECT player, rotated_at, expires_at, revoked FROM refresh_families
        WHERE player = ANY (ARRAY(SELECT id FROM locked))
        FOR UPDATE
    ), still_unused AS MATERIALIZED (
        SELECT id FROM locked EXCEPT
        SELECT f.player FROM families f CROSS JOIN limits l
        WHERE f.rotated_at >= l.unused_since OR NOT f.revoked AND f.expires_at > l.now
    ), signed_out AS (
        DELETE FROM refresh_families WHERE player = ANY (ARRAY(SELECT id FROM still_unused))
    ), gone AS (
        DELETE FROM players WHERE id = ANY (ARRAY(SELECT id FROM still_unused)) RETURNING id
    )
    SELECT (SELECT max(id) FROM batch) AS last, (SELECT count(*) FROM gone) AS deleted";

/// Deletes the streams and failed causes of deleted guests. It is a statement of its own, because the
/// deletion does not see rows of an append that it waited for. An instance that dies before it leaves
/// them to the next deletion.
const DELETE_ORPHANED_STREAMS: &str = "
    WITH orphaned AS MATERIALIZED (
        SELECT s.player
        FROM (SELECT player FROM player_streams WHERE player > $1 AND player <= $2
            UNION SELECT player FROM projector_faults WHERE player > $1 AND player <= $2) AS s
        LEFT JOIN LATERAL (SELECT true AS found FROM players p WHERE p.id = s.player LIMIT 1) kept ON true
        WHERE kept.found IS NULL
    ), deleted AS (
        DELETE FROM player_streams WHERE player = ANY (ARRAY(SELECT player FROM orphaned))
    ), failed_causes AS (
        DELETE FROM projector_faults WHERE player = ANY (ARRAY(SELECT player FROM orphaned))
    )
    DELETE FROM player_events WHERE player = ANY (ARRAY(SELECT player FROM orphaned))";

/// Deletes a few rows at a time, so that no backlog makes a statement exceed its time limit.
pub(super) const DELETE_EXPIRED_FAMILIES: &str = "
    WITH gone AS (
        DELETE FROM refresh_families WHERE id = ANY (ARRAY(
            SELECT id FROM refresh_families WHERE expires_at < 'epoch'::timestamptz + $1::bigint * interval '1 millisecond'
            ORDER BY expires_at LIMIT 1000))
        RETURNING id
    )
    SELECT count(*) FROM gone";

#[async_trait]
impl Accounts for PostgresStore {
    async fn create_player(&self, name: &str) -> Result<Profile> {
        self.general_pool
            .fetch_one(
                "create a player",
                sqlx::query(CREATE_PLAYER).bind(name.to_owned()),
                profile,
            )
            .await
    }

    async fn delete_unused_guests(
        &self,
        after: Option<PlayerId>,
        limit: u32,
        unused_since: UnixMillis,
        now: UnixMillis,
    ) -> Result<DeletedGuests> {
        const OPERATION: &str = "delete unused guests";
        let after = after.map_or(0, i64::from);
        let statement = sqlx::query(DELETE_UNUSED_GUESTS)
            .bind(after)
            .bind(i64::from(limit))
            .bind(unused_since.0)
            .bind(now.0);
        let deleted = |row: &PgRow| {
            let has_last = row.try_get::<Option<i64>, _>("last")?.is_some();
            Ok(DeletedGuests {
                last: has_last.then(|| player_id(row, "last")).transpose()?,
                count: number(row, "deleted")?,
            })
        };
        let deleted = self
            .general_pool
            .fetch_one(OPERATION, statement, deleted)
            .await?;
        if let Some(last) = deleted.last {
            let statement = sqlx::query(DELETE_ORPHANED_STREAMS)
                .bind(after)
                .bind(i64::from(last));
            self.general_pool.fetch_rows(OPERATION, statement).await?;
        }
        Ok(deleted)
    }

    async fn player(&self, player: PlayerId) -> Result<Option<Profile>> {
        self.general_pool
            .fetch_optional(
                "read a player",
                sqlx::query(PLAYER).bind(i64::from(player)),
                profile,
            )
            .await
    }

    async fn account(&self, player: PlayerId, now: UnixMillis) -> Result<Option<Account>> {
        const OPERATION: &str = "read an account";
        let statement = sqlx::query(ACCOUNT)
            .bind(i64::from(player))
            .bind(i64::from(SIGN_INS_MAX))
            .bind(now.0);
        let rows = self
            .general_pool
            .fetch_all(OPERATION, statement, |row| {
                Ok((account(row)?, sign_in(row)?))
            })
            .await?;
        let (accounts, sign_ins): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let mut sign_ins: Vec<_> = sign_ins.into_iter().flatten().collect();
        sign_ins.sort_unstable();
        Ok(accounts.into_iter().next().map(|account| Account {
            sign_ins,
            ..account
        }))
    }

    async fn create_token_family(
        &self,
        family: FamilyId,
        player: PlayerId,
        token: TokenHash,
        now: UnixMillis,
        ttl: Duration,
    ) -> Result<()> {
        let statement = sqlx::query(CREATE_TOKEN_FAMILY)
            .bind(family.0)
            .bind(i64::from(player))
            .bind(token.0)
            .bind(now.0)
            .bind(now.plus(millis(ttl)).0);
        self.general_pool
            .fetch_rows("create token family", statement)
            .await
            .map(drop)
    }

    async fn rotate_refresh_token(&self, presentation: RotationRequest) -> Result<RotationOutcome> {
        let RotationRequest {
            family,
            presented,
            replacement,
            now,
            ttl,
        } = presentation;
        let statement = sqlx::query(ROTATE_REFRESH_TOKEN)
            .bind(family.0)
            .bind(presented.0)
            .bind(replacement.0)
            .bind(now.0)
            .bind(now.plus(millis(ttl)).0);
        let rotated = self
            .general_pool
            .fetch_optional("rotate a refresh token", statement, rotation_outcome)
            .await?;
        Ok(rotated.unwrap_or(RotationOutcome::Unknown))
    }
}

fn account(row: &PgRow) -> sqlx::Result<Account> {
    Ok(Account {
        profile: profile(row)?,
        external_id: row.try_get("external_id")?,
        sign_ins: Vec::new(),
    })
}

/// Reads a sign-in; a player without one has a single row with nulls.
fn sign_in(row: &PgRow) -> sqlx::Result<Option<SignIn>> {
    let renewed_at: Option<i64> = row.try_get("renewed_at")?;
    let Some(renewed_at) = renewed_at.map(UnixMillis) else {
        return Ok(None);
    };
    Ok(Some(SignIn {
        renewed_at,
        expires_at: UnixMillis(row.try_get("expires_at")?),
    }))
}

fn rotation_outcome(row: &PgRow) -> sqlx::Result<RotationOutcome> {
    if row.try_get("revoked")? {
        return Ok(RotationOutcome::Reused);
    }
    Ok(RotationOutcome::Rotated {
        player: PlayerRef {
            id: player_id(row, "id")?,
            name: row.try_get("name")?,
        },
        current: TokenHash(row.try_get("current")?),
    })
}

pub(super) fn profile(row: &PgRow) -> sqlx::Result<Profile> {
    Ok(Profile {
        id: player_id(row, "id")?,
        name: row.try_get("name")?,
        xp: number(row, "xp")?,
        tasks: number(row, "tasks")?,
        raids_won: number(row, "raids_won")?,
        created_at: UnixMillis(row.try_get("created_at")?),
    })
}
