//! Lookups: players, raids and instances, as operators find them.

use async_trait::async_trait;
use raidhall_protocol::rest::Profile;
use raidhall_protocol::{PlayerId, RaidId, UnixMillis};

use super::{InstanceId, RaidRow, Result};

/// What an operator knows of a player.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlayerLookup {
    /// The player's own id.
    Id(PlayerId),
    /// The player's id in the host app.
    ExternalId(String),
    /// The beginning of the name, in either case.
    Name(String),
}

/// A player as operators see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayerRow {
    /// The player's name and totals.
    pub profile: Profile,
    /// The player's id in the host app.
    pub external_id: Option<String>,
    /// The reason of the player's ban, if there is one.
    pub ban: Option<String>,
}

/// What an operator knows of a raid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RaidLookup {
    /// The raid's own id.
    Id(RaidId),
    /// The beginning of the title, in either case.
    Title(String),
}

/// An instance whose lease lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRow {
    /// The instance's own id.
    pub id: InstanceId,
    /// The URL of its WebSocket endpoint.
    pub ws_url: String,
    /// The release it runs.
    pub release: String,
    /// Whether it is draining.
    pub draining: bool,
    /// When its lease runs out unless it is renewed.
    pub lease_until: UnixMillis,
}

/// The part of the store that operators search.
#[async_trait]
pub trait Lookups: Send + Sync + 'static {
    /// Players who fit, by name and id, at most `limit`.
    async fn find_players(&self, lookup: &PlayerLookup, limit: u32) -> Result<Vec<PlayerRow>>;

    /// Raids that fit, by title and id, at most `limit`.
    async fn find_raids(&self, lookup: &RaidLookup, limit: u32) -> Result<Vec<RaidRow>>;

    /// Every instance whose lease lives, by id.
    async fn instances(&self) -> Result<Vec<InstanceRow>>;
}
