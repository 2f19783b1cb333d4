//! External identities, and single-use proofs.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, UnixMillis};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::PostgresStore;
use super::columns::{millis, player as player_id};
use crate::store::{Identities, LinkOutcome, Result};

const PLAYER_BY_IDENTITY: &str = "SELECT id, name FROM players WHERE external_id = $1";

/// Of many concurrent calls, one inserts the row. The others conflict with it, and read it by a
/// statement that begins after that.
const CREATE_WITH_IDENTITY: &str = "
    INSERT INTO players (name, created_at, external_id)
    VALUES ($2, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, $1)
    ON CONFLICT (external_id) DO NOTHING
    RETURNING id, name";

/// Returns one row for the player, unless they are erased, with their present identity, and changes
/// it only if neither the identity is taken nor the player has one. The player is locked, so that no
/// erasure or other link is missed. Of two concurrent links of one identity, the second violates the
/// unique index; its caller retries and then sees that the identity is taken.
const LINK_IDENTITY: &str = "
    WITH player AS MATERIALIZED (
        SELECT id, external_id FROM players WHERE id = $1 AND erased_at IS NULL FOR UPDATE
    ), linked AS (
        UPDATE players SET external_id = $2
        WHERE id = (SELECT id FROM player WHERE external_id IS NULL)
            AND NOT EXISTS (SELECT FROM players o WHERE o.external_id = $2)
        RETURNING id
    )
    SELECT EXISTS (SELECT FROM linked) OR p.external_id IS NOT DISTINCT FROM $2 AS linked,
        p.external_id IS NOT NULL AS has_another
    FROM player p";

const CONSUME_PROOF: &str = "
    WITH used AS (
        INSERT INTO used_proofs (proof, until)
        VALUES ($1, 'epoch'::timestamptz + $2::bigint * interval '1 millisecond')
        ON CONFLICT (proof) DO NOTHING
        RETURNING proof
    )
    SELECT count(*) FROM used";

/// Deletes a few rows at a time, so that no backlog makes a statement exceed its time limit.
pub(super) const DELETE_EXPIRED_PROOFS: &str = "
    WITH gone AS (
        DELETE FROM used_proofs WHERE proof = ANY (ARRAY(
            SELECT proof FROM used_proofs WHERE until < 'epoch'::timestamptz + $1::bigint * interval '1 millisecond' ORDER BY until LIMIT 1000))
        RETURNING proof
    )
    SELECT count(*) FROM gone";

#[async_trait]
impl Identities for PostgresStore {
    async fn player_by_identity(&self, external_id: &str) -> Result<Option<PlayerRef>> {
        let statement = sqlx::query(PLAYER_BY_IDENTITY).bind(external_id.to_owned());
        self.general_pool
            .fetch_optional("find a player by identity", statement, player)
            .await
    }

    async fn find_or_create_by_identity(&self, external_id: &str, name: &str) -> Result<PlayerRef> {
        const OPERATION: &str = "find or create a player by identity";
        if let Some(known) = self.player_by_identity(external_id).await? {
            return Ok(known);
        }
        let statement = sqlx::query(CREATE_WITH_IDENTITY)
            .bind(external_id.to_owned())
            .bind(name.to_owned());
        if let Some(made) = self
            .general_pool
            .fetch_optional(OPERATION, statement, player)
            .await?
        {
            return Ok(made);
        }
        let statement = sqlx::query(PLAYER_BY_IDENTITY).bind(external_id.to_owned());
        self.general_pool
            .fetch_one(OPERATION, statement, player)
            .await
    }

    async fn link_identity(&self, player: PlayerId, external_id: &str) -> Result<LinkOutcome> {
        let statement = sqlx::query(LINK_IDENTITY)
            .bind(i64::from(player))
            .bind(external_id.to_owned());
        let linked = self
            .general_pool
            .fetch_optional("link an identity", statement, link_outcome)
            .await;
        match linked {
            Ok(link) => Ok(link.unwrap_or(LinkOutcome::Missing)),
            Err(error) => match self.player_by_identity(external_id).await? {
                Some(owner) if owner.id == player => Ok(LinkOutcome::Linked),
                Some(_) => Ok(LinkOutcome::Taken),
                None => Err(error),
            },
        }
    }

    async fn consume_proof(&self, proof: [u8; 32], now: UnixMillis, ttl: Duration) -> Result<bool> {
        let statement = sqlx::query(CONSUME_PROOF)
            .bind(proof)
            .bind(now.plus(millis(ttl)).0);
        Ok(self
            .general_pool
            .fetch_count("consume a proof", statement)
            .await?
            > 0)
    }
}

fn player(row: &PgRow) -> sqlx::Result<PlayerRef> {
    Ok(PlayerRef {
        id: player_id(row, "id")?,
        name: row.try_get("name")?,
    })
}

fn link_outcome(row: &PgRow) -> sqlx::Result<LinkOutcome> {
    let linked: bool = row.try_get("linked")?;
    let has_another: bool = row.try_get("has_another")?;
    Ok(match (linked, has_another) {
        (true, _) => LinkOutcome::Linked,
        (false, true) => LinkOutcome::HasAnother,
        (false, false) => LinkOutcome::Taken,
    })
}
