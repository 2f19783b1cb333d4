//! External identities, and single-use proofs.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, UnixMillis};
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::fault::failed;
use super::leases::millis;
use super::players::player_id;
use super::statements::{now, statements};
use crate::store::{Identities, LinkOutcome, Result};

statements! {
    PLAYER_BY_IDENTITY = "SELECT id, name FROM players WHERE external_id = ?1";
    CREATE_WITH_IDENTITY = "INSERT INTO players (name, created_at, external_id) VALUES (?1, ", now!(), ", ?2) RETURNING id, name";
    IDENTITY = "SELECT external_id FROM players WHERE id = ?1 AND erased_at IS NULL";
    LINK = "UPDATE players SET external_id = ?2 WHERE id = ?1";
    CONSUME_PROOF = "INSERT INTO used_proofs (proof, until) VALUES (?1, ?2 + ?3) ON CONFLICT (proof) DO NOTHING";
    /// Deletes a few expired rows with each new one, so that they cannot pile up and no sweep is
    /// needed.
    DELETE_EXPIRED_PROOFS =
        "DELETE FROM used_proofs WHERE proof IN ",
        "    (SELECT proof FROM used_proofs WHERE until <= ?1 ORDER BY until LIMIT 16)";
}

#[async_trait]
impl Identities for SqliteStore {
    async fn player_by_identity(&self, external_id: &str) -> Result<Option<PlayerRef>> {
        let found = sqlx::query_as(PLAYER_BY_IDENTITY)
            .bind(external_id)
            .fetch_optional(&self.readers)
            .await;
        found
            .map_err(failed("find a player by identity"))?
            .map(player)
            .transpose()
    }

    async fn find_or_create_by_identity(&self, external_id: &str, name: &str) -> Result<PlayerRef> {
        if let Some(known) = self.player_by_identity(external_id).await? {
            return Ok(known);
        }
        let external_id = external_id.to_owned();
        let name = name.to_owned();
        let admit = self
            .writer
            .write("find or create a player by identity", move |transaction| {
                Box::pin(async move { find_or_create(transaction, &external_id, &name).await })
            });
        admit.await
    }

    async fn link_identity(&self, player: PlayerId, external_id: &str) -> Result<LinkOutcome> {
        let external_id = external_id.to_owned();
        let link = self.writer.write("link an identity", move |transaction| {
            Box::pin(async move { link(transaction, player, &external_id).await })
        });
        link.await
    }

    async fn consume_proof(&self, proof: [u8; 32], now: UnixMillis, ttl: Duration) -> Result<bool> {
        let consume = self.writer.write("consume a proof", move |transaction| {
            Box::pin(consume_proof(transaction, proof, now, ttl))
        });
        consume.await
    }
}

async fn find_or_create(
    transaction: &mut SqliteConnection,
    external_id: &str,
    name: &str,
) -> Result<PlayerRef> {
    let failed = failed("find or create a player by identity");
    let admitted = match find_by_identity(transaction, external_id).await? {
        Some(known) => known,
        None => {
            let admit = sqlx::query_as(CREATE_WITH_IDENTITY)
                .bind(name)
                .bind(external_id);
            player(admit.fetch_one(&mut *transaction).await.map_err(&failed)?)?
        }
    };
    Ok(admitted)
}

async fn link(
    transaction: &mut SqliteConnection,
    player: PlayerId,
    external_id: &str,
) -> Result<LinkOutcome> {
    let failed = failed("link an identity");
    let id = i64::from(player);
    let has = sqlx::query_as(IDENTITY)
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await;
    let has: Option<(Option<String>,)> = has.map_err(&failed)?;
    let owner = find_by_identity(transaction, external_id).await?;
    Ok(match (has, owner) {
        (None, _) => LinkOutcome::Missing,
        (_, Some(owner)) if owner.id == player => LinkOutcome::Linked,
        (Some((Some(_),)), _) => LinkOutcome::HasAnother,
        (_, Some(_)) => LinkOutcome::Taken,
        (Some((None,)), None) => {
            let set = sqlx::query(LINK)
                .bind(id)
                .bind(external_id)
                .execute(&mut *transaction);
            set.await.map_err(&failed)?;
            LinkOutcome::Linked
        }
    })
}

async fn find_by_identity(
    connection: &mut SqliteConnection,
    external_id: &str,
) -> Result<Option<PlayerRef>> {
    let found = sqlx::query_as(PLAYER_BY_IDENTITY)
        .bind(external_id)
        .fetch_optional(connection)
        .await;
    found
        .map_err(failed("find a player by identity"))?
        .map(player)
        .transpose()
}

async fn consume_proof(
    transaction: &mut SqliteConnection,
    proof: [u8; 32],
    now: UnixMillis,
    ttl: Duration,
) -> Result<bool> {
    let failed = failed("consume a proof");
    sqlx::query(DELETE_EXPIRED_PROOFS)
        .bind(now.0)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
    let consume = sqlx::query(CONSUME_PROOF)
        .bind(proof.to_vec())
        .bind(now.0)
        .bind(millis(ttl));
    let used = consume
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?
        .rows_affected()
        > 0;
    Ok(used)
}

fn player((id, name): (i64, String)) -> Result<PlayerRef> {
    Ok(PlayerRef {
        id: player_id(id)?,
        name,
    })
}
