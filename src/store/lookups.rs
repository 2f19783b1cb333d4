//! Lookups: how operators find players, raids and instances.

use async_trait::async_trait;
use raidhall_protocol::rest::Profile;
use raidhall_protocol::{PlayerId, RaidId, UnixMillis};

use super::{InstanceId, RaidRow, Result};

/// Search key by which an operator looks for a player.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlayerLookup {
    /// The player's own id.
    Id(PlayerId),
    /// The player's id in the host app.
    ExternalId(String),
    /// A prefix of the name, ignoring case.
    Name(String),
}

/// A player in an operator's search result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayerRow {
    /// The player's name and totals.
    pub profile: Profile,
    /// The player's id in the host app.
    pub external_id: Option<String>,
    /// The reason of the player's ban; `None` if the player is not banned.
    pub ban: Option<String>,
}

/// Search key by which an operator looks for a raid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RaidLookup {
    /// The raid's own id.
    Id(RaidId),
    /// A prefix of the title, ignoring case.
    Title(String),
}

/// An instance with a valid lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRow {
    /// The instance's own id.
    pub id: InstanceId,
    /// URL of the instance's WebSocket endpoint.
    pub ws_url: String,
    /// Version of the release that the instance runs.
    pub release: String,
    /// Whether the instance is draining.
    pub draining: bool,
    /// When the lease runs out unless it is renewed.
    pub lease_until: UnixMillis,
}

/// The searches of the store that operators use.
#[async_trait]
pub trait Lookups: Send + Sync + 'static {
    /// Returns players that match, ordered by name and id, at most `limit`.
    async fn find_players(&self, lookup: &PlayerLookup, limit: u32) -> Result<Vec<PlayerRow>>;

    /// Returns raids that match, ordered by title and id, at most `limit`.
    async fn find_raids(&self, lookup: &RaidLookup, limit: u32) -> Result<Vec<RaidRow>>;

    /// Returns every instance with a valid lease, ordered by id.
    async fn instances(&self) -> Result<Vec<InstanceRow>>;
}
