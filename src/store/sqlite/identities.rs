//! Players by what they are called elsewhere, and proofs that are good for once.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::PlayerId;
use raidhall_protocol::server::PlayerRef;
use sqlx::{Connection, SqliteConnection};

use super::SqliteStore;
use super::fault::failed;
use super::leases::millis;
use super::players::player_id;
use super::statements::{now, statements};
use super::writer::{Hand, Lane};
use crate::store::{Identities, Link, Result};

statements! {
    OF_IDENTITY = "SELECT id, name FROM players WHERE external_id = ?1";
    ADMIT = "INSERT INTO players (name, created_at, external_id) VALUES (?1, ", now!(), ", ?2) RETURNING id, name";
    IDENTITY = "SELECT external_id FROM players WHERE id = ?1";
    LINK = "UPDATE players SET external_id = ?2 WHERE id = ?1";
    USE_PROOF = "INSERT INTO used_proofs (proof, until) VALUES (?1, ", now!(), " + ?2) ON CONFLICT (proof) DO NOTHING";
    /// A few with each new one, so that they cannot pile up and no sweep is needed.
    FORGET_PROOFS =
        "DELETE FROM used_proofs WHERE proof IN ",
        "    (SELECT proof FROM used_proofs WHERE until <= ", now!(), " ORDER BY until LIMIT 16)";
}

#[async_trait]
impl Identities for SqliteStore {
    async fn player_of_identity(&self, external_id: &str) -> Result<Option<PlayerRef>> {
        let found = sqlx::query_as(OF_IDENTITY)
            .bind(external_id)
            .fetch_optional(&self.readers)
            .await;
        found
            .map_err(failed("find a player by identity"))?
            .map(player)
            .transpose()
    }

    async fn admit_identity(&self, external_id: &str, name: &str) -> Result<PlayerRef> {
        if let Some(known) = self.player_of_identity(external_id).await? {
            return Ok(known);
        }
        let (external_id, name) = (external_id.to_owned(), name.to_owned());
        let admit = self
            .writer
            .run("admit an identity", Lane::Others, move |hand| {
                Box::pin(async move { admit(hand, &external_id, &name).await })
            });
        admit.await
    }

    async fn link_identity(&self, player: PlayerId, external_id: &str) -> Result<Link> {
        let external_id = external_id.to_owned();
        let link = self
            .writer
            .run("link an identity", Lane::Others, move |hand| {
                Box::pin(async move { link(hand, player, &external_id).await })
            });
        link.await
    }

    async fn use_proof(&self, proof: [u8; 32], ttl: Duration) -> Result<bool> {
        let consume = self.writer.run("use a proof", Lane::Others, move |hand| {
            Box::pin(use_proof(hand, proof, ttl))
        });
        consume.await
    }
}

async fn admit(hand: &mut Hand, external_id: &str, name: &str) -> Result<PlayerRef> {
    let failed = failed("admit an identity");
    let mut transaction = hand
        .connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(&failed)?;
    let admitted = match of_identity(&mut transaction, external_id).await? {
        Some(known) => known,
        None => {
            let admit = sqlx::query_as(ADMIT).bind(name).bind(external_id);
            player(admit.fetch_one(&mut *transaction).await.map_err(&failed)?)?
        }
    };
    transaction.commit().await.map_err(failed)?;
    Ok(admitted)
}

async fn link(hand: &mut Hand, player: PlayerId, external_id: &str) -> Result<Link> {
    let failed = failed("link an identity");
    let mut transaction = hand
        .connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(&failed)?;
    let id = i64::from(player);
    let has = sqlx::query_as(IDENTITY)
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await;
    let has: Option<(Option<String>,)> = has.map_err(&failed)?;
    let owner = of_identity(&mut transaction, external_id).await?;
    Ok(match (has, owner) {
        (None, _) => Link::Missing,
        (_, Some(owner)) if owner.id == player => Link::Linked,
        (Some((Some(_),)), _) => Link::HasAnother,
        (_, Some(_)) => Link::Taken,
        (Some((None,)), None) => {
            let set = sqlx::query(LINK)
                .bind(id)
                .bind(external_id)
                .execute(&mut *transaction);
            set.await.map_err(&failed)?;
            transaction.commit().await.map_err(failed)?;
            Link::Linked
        }
    })
}

async fn of_identity(
    connection: &mut SqliteConnection,
    external_id: &str,
) -> Result<Option<PlayerRef>> {
    let found = sqlx::query_as(OF_IDENTITY)
        .bind(external_id)
        .fetch_optional(connection)
        .await;
    found
        .map_err(failed("find a player by identity"))?
        .map(player)
        .transpose()
}

async fn use_proof(hand: &mut Hand, proof: [u8; 32], ttl: Duration) -> Result<bool> {
    let failed = failed("use a proof");
    let mut transaction = hand
        .connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(&failed)?;
    sqlx::query(FORGET_PROOFS)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
    let consume = sqlx::query(USE_PROOF)
        .bind(proof.to_vec())
        .bind(millis(ttl));
    let used = consume
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?
        .rows_affected()
        > 0;
    transaction.commit().await.map_err(failed)?;
    Ok(used)
}

fn player((id, name): (i64, String)) -> Result<PlayerRef> {
    Ok(PlayerRef {
        id: player_id(id)?,
        name,
    })
}
