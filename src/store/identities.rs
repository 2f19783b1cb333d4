//! External identities: players' ids at an issuer, at Telegram or in the host app.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, UnixMillis};

use super::Result;

/// Outcome of linking an external identity to a player.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkOutcome {
    /// The identity is the player's now, or was already.
    Linked,
    /// The identity is another player's.
    Taken,
    /// The player has another identity.
    HasAnother,
    /// The player does not exist, or their account is closed.
    Missing,
}

/// The external identities of the store.
#[async_trait]
pub trait Identities: Send + Sync + 'static {
    /// Returns the player with an identity, if there is one.
    async fn player_by_identity(&self, external_id: &str) -> Result<Option<PlayerRef>>;

    /// Returns the player with an identity, and creates one named `name` if there is none.
    /// Concurrent calls for one identity return the same player.
    async fn find_or_create_by_identity(&self, external_id: &str, name: &str) -> Result<PlayerRef>;

    /// Links an identity to a player, unless the identity is taken or the player has one.
    async fn link_identity(&self, player: PlayerId, external_id: &str) -> Result<LinkOutcome>;

    /// Consumes a single-use proof and remembers it for `ttl` from `now`. Returns false if it was used before.
    async fn consume_proof(&self, proof: [u8; 32], now: UnixMillis, ttl: Duration) -> Result<bool>;
}
