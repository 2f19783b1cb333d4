//! Players whom somebody else vouches for: by an id that is theirs elsewhere.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::PlayerId;
use raidhall_protocol::server::PlayerRef;

use super::Result;

/// What came of giving a player an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkOutcome {
    /// It is theirs now, or was already.
    Linked,
    /// It is another player's.
    Taken,
    /// The player has another one.
    HasAnother,
    /// There is no such player.
    Missing,
}

/// The part of the store that knows players by what they are called elsewhere.
#[async_trait]
pub trait Identities: Send + Sync + 'static {
    /// The player of an identity; none if it has none yet.
    async fn player_by_identity(&self, external_id: &str) -> Result<Option<PlayerRef>>;

    /// The player of an identity, made under this name if there is none yet: the same one each time, though many ask at
    /// once.
    async fn find_or_create_by_identity(&self, external_id: &str, name: &str) -> Result<PlayerRef>;

    /// Gives a player an identity, unless either has one.
    async fn link_identity(&self, player: PlayerId, external_id: &str) -> Result<LinkOutcome>;

    /// Uses up a proof that is good for once, and is remembered for `ttl`. False if it was used before.
    async fn consume_proof(&self, proof: [u8; 32], ttl: Duration) -> Result<bool>;
}
