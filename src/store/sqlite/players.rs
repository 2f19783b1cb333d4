//! Players, their totals and their sign-ins.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::rest::Profile;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, UnixMillis};
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::commit::json_array;
use super::fault::{failed, refused, unsigned};
use super::leases::millis;
use super::statements::{now, statements};
use super::streams::delete_streams;
use crate::store::{
    Account, Accounts, DeletedGuests, FamilyId, Result, RotationOutcome, RotationRequest,
    SIGN_INS_MAX, SignIn, TokenHash,
};

statements! {
    CREATE_PLAYER = "INSERT INTO players (name, created_at) VALUES (?1, ", now!(), ") RETURNING id, created_at";
    PLAYER = "SELECT name, xp, tasks, raids_won, created_at FROM players WHERE id = ?1";
    EXTERNAL_ID = "SELECT external_id FROM players WHERE id = ?1";
    SIGN_INS =
        "SELECT rotated_at, expires_at FROM refresh_families ",
        "WHERE player = ?1 AND expires_at > ?3 LIMIT ?2";
    /// Deletes a few expired rows with each sign-in, so that they cannot pile up and no sweep is
    /// needed.
    DELETE_EXPIRED_FAMILIES =
        "DELETE FROM refresh_families WHERE id IN ",
        "    (SELECT id FROM refresh_families WHERE expires_at <= ?1 ORDER BY expires_at LIMIT 16)";
    LAST_OF_BATCH =
        "SELECT max(id) FROM (SELECT id FROM players WHERE id > ?1 ORDER BY id LIMIT ?2)";
    UNUSED_GUESTS =
        "SELECT id FROM players ",
        "WHERE id > ?1 AND id <= ?2 AND created_at < ?3 AND external_id IS NULL AND erased_at IS NULL ",
        "    AND NOT EXISTS (SELECT 1 FROM raid_visits v WHERE v.player = players.id) ",
        "    AND NOT EXISTS (SELECT 1 FROM bans b WHERE b.player = players.id) ",
        "    AND NOT EXISTS (SELECT 1 FROM refresh_families f ",
        "        WHERE f.player = players.id AND (f.rotated_at >= ?3 OR f.expires_at > ?4))";
    DELETE_FAMILIES =
        "DELETE FROM refresh_families WHERE player IN (SELECT value FROM json_each(?1))";
    DELETE_PLAYERS = "DELETE FROM players WHERE id IN (SELECT value FROM json_each(?1))";
    CREATE_TOKEN_FAMILY =
        "INSERT INTO refresh_families (id, player, current, rotated_at, expires_at) ",
        "VALUES (?1, ?2, ?3, ?4, ?4 + ?5)";
    FAMILY =
        "SELECT player, name, current = ?2, previous = ?2, current ",
        "FROM refresh_families JOIN players ON players.id = player ",
        "WHERE refresh_families.id = ?1 AND expires_at > ?3";
    ROTATE_REFRESH_TOKEN =
        "UPDATE refresh_families SET current = ?2, previous = current, rotated_at = ?3, ",
        "    expires_at = ?3 + ?4 WHERE id = ?1";
    PROLONG = "UPDATE refresh_families SET expires_at = ?2 + ?3 WHERE id = ?1";
    REVOKE = "DELETE FROM refresh_families WHERE id = ?1";
}

#[async_trait]
impl Accounts for SqliteStore {
    async fn create_player(&self, name: &str) -> Result<Profile> {
        let name = name.to_owned();
        let create = self.writer.write("create player", move |transaction| {
            Box::pin(create_player(transaction, name))
        });
        create.await
    }

    async fn player(&self, id: PlayerId) -> Result<Option<Profile>> {
        const OPERATION: &str = "read player";
        let read = sqlx::query_as(PLAYER)
            .bind(i64::from(id))
            .fetch_optional(&self.readers);
        let row: Option<(String, i64, i64, i64, i64)> = read.await.map_err(failed(OPERATION))?;
        let Some((name, xp, tasks, raids_won, created_at)) = row else {
            return Ok(None);
        };
        Ok(Some(Profile {
            id,
            name,
            xp: unsigned(OPERATION, xp)?,
            tasks: unsigned(OPERATION, tasks)?,
            raids_won: unsigned(OPERATION, raids_won)?,
            created_at: UnixMillis(created_at),
        }))
    }

    async fn account(&self, id: PlayerId, now: UnixMillis) -> Result<Option<Account>> {
        let failed = failed("read account");
        let Some(profile) = self.player(id).await? else {
            return Ok(None);
        };
        let external_id = sqlx::query_scalar(EXTERNAL_ID)
            .bind(i64::from(id))
            .fetch_optional(&self.readers)
            .await;
        let sign_ins = sqlx::query_as(SIGN_INS)
            .bind(i64::from(id))
            .bind(SIGN_INS_MAX)
            .bind(now.0)
            .fetch_all(&self.readers)
            .await;
        let sign_ins: Vec<(i64, i64)> = sign_ins.map_err(&failed)?;
        let sign_in = |(renewed_at, expires_at)| SignIn {
            renewed_at: UnixMillis(renewed_at),
            expires_at: UnixMillis(expires_at),
        };
        let mut sign_ins: Vec<_> = sign_ins.into_iter().map(sign_in).collect();
        sign_ins.sort_unstable();
        Ok(Some(Account {
            profile,
            external_id: external_id.map_err(failed)?.flatten(),
            sign_ins,
        }))
    }

    async fn delete_unused_guests(
        &self,
        after: Option<PlayerId>,
        limit: u32,
        unused_since: UnixMillis,
        now: UnixMillis,
    ) -> Result<DeletedGuests> {
        let delete = self
            .writer
            .write("delete unused guests", move |transaction| {
                Box::pin(delete_unused_guests(
                    transaction,
                    after,
                    limit,
                    unused_since,
                    now,
                ))
            });
        delete.await
    }

    async fn create_token_family(
        &self,
        family: FamilyId,
        player: PlayerId,
        token: TokenHash,
        now: UnixMillis,
        ttl: Duration,
    ) -> Result<()> {
        let begin = self
            .writer
            .write("create token family", move |transaction| {
                Box::pin(create_token_family(
                    transaction,
                    family,
                    player,
                    token,
                    now,
                    ttl,
                ))
            });
        begin.await
    }

    async fn rotate_refresh_token(&self, presentation: RotationRequest) -> Result<RotationOutcome> {
        let rotate = self
            .writer
            .write("rotate refresh token", move |transaction| {
                Box::pin(rotate_refresh_token(transaction, presentation))
            });
        rotate.await
    }
}

async fn create_player(transaction: &mut SqliteConnection, name: String) -> Result<Profile> {
    let create = sqlx::query_as(CREATE_PLAYER).bind(&name);
    let (id, created_at) = create
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed("create player"))?;
    let id = player_id(id)?;
    let created_at = UnixMillis(created_at);
    Ok(Profile {
        id,
        name,
        xp: 0,
        tasks: 0,
        raids_won: 0,
        created_at,
    })
}

async fn create_token_family(
    transaction: &mut SqliteConnection,
    family: FamilyId,
    player: PlayerId,
    token: TokenHash,
    now: UnixMillis,
    ttl: Duration,
) -> Result<()> {
    let failed = failed("create token family");
    sqlx::query(DELETE_EXPIRED_FAMILIES)
        .bind(now.0)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
    let begin = sqlx::query(CREATE_TOKEN_FAMILY)
        .bind(family.0)
        .bind(i64::from(player))
        .bind(token.0.to_vec())
        .bind(now.0)
        .bind(millis(ttl));
    begin.execute(&mut *transaction).await.map_err(&failed)?;
    Ok(())
}

/// The player's id and name, whether the presented token is the current one, whether it is the
/// previous one, and the current token.
type FamilyColumns = (i64, String, bool, Option<bool>, Vec<u8>);

async fn rotate_refresh_token(
    transaction: &mut SqliteConnection,
    presentation: RotationRequest,
) -> Result<RotationOutcome> {
    let RotationRequest {
        family,
        presented: token,
        replacement: successor,
        now,
        ttl,
    } = presentation;
    let failed = failed("rotate refresh token");
    let find = sqlx::query_as(FAMILY)
        .bind(family.0)
        .bind(token.0.to_vec())
        .bind(now.0);
    let found: Option<FamilyColumns> = find
        .fetch_optional(&mut *transaction)
        .await
        .map_err(&failed)?;
    let Some((id, name, is_current, is_previous, current)) = found else {
        return Ok(RotationOutcome::Unknown);
    };

    let rotation = if is_current {
        let rotate = sqlx::query(ROTATE_REFRESH_TOKEN)
            .bind(family.0)
            .bind(successor.0.to_vec())
            .bind(now.0)
            .bind(millis(ttl));
        rotate.execute(&mut *transaction).await.map_err(&failed)?;
        RotationOutcome::Rotated {
            player: PlayerRef {
                id: player_id(id)?,
                name,
            },
            current: successor,
        }
    } else if is_previous == Some(true) {
        let prolong = sqlx::query(PROLONG)
            .bind(family.0)
            .bind(now.0)
            .bind(millis(ttl));
        prolong.execute(&mut *transaction).await.map_err(&failed)?;
        let current = <[u8; 32]>::try_from(current.as_slice());
        let current = TokenHash(current.map_err(|error| refused("rotate refresh token", error))?);
        RotationOutcome::Rotated {
            player: PlayerRef {
                id: player_id(id)?,
                name,
            },
            current,
        }
    } else {
        sqlx::query(REVOKE)
            .bind(family.0)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        RotationOutcome::Reused
    };
    Ok(rotation)
}

pub(super) fn player_id(id: i64) -> Result<PlayerId> {
    PlayerId::try_from(id).map_err(|error| refused("read player", error))
}

async fn delete_unused_guests(
    transaction: &mut SqliteConnection,
    after: Option<PlayerId>,
    limit: u32,
    unused_since: UnixMillis,
    now: UnixMillis,
) -> Result<DeletedGuests> {
    let failed = failed("delete unused guests");
    let after = after.map_or(0, i64::from);
    let last: Option<i64> = sqlx::query_scalar(LAST_OF_BATCH)
        .bind(after)
        .bind(limit)
        .fetch_one(&mut *transaction)
        .await
        .map_err(&failed)?;
    let Some(last) = last else {
        return Ok(DeletedGuests {
            last: None,
            count: 0,
        });
    };
    let unused: Vec<i64> = sqlx::query_scalar(UNUSED_GUESTS)
        .bind(after)
        .bind(last)
        .bind(unused_since.0)
        .bind(now.0)
        .fetch_all(&mut *transaction)
        .await
        .map_err(&failed)?;
    if let Some(ids) = json_array(unused.iter().map(i64::to_string)) {
        let families = sqlx::query(DELETE_FAMILIES).bind(&ids);
        families.execute(&mut *transaction).await.map_err(&failed)?;
        let players = sqlx::query(DELETE_PLAYERS).bind(&ids);
        players.execute(&mut *transaction).await.map_err(&failed)?;
        delete_streams(transaction, &unused)
            .await
            .map_err(&failed)?;
    }
    Ok(DeletedGuests {
        last: Some(player_id(last)?),
        count: unused.len() as u64,
    })
}
