//! Lookups: players, raids and instances, as operators find them.

use async_trait::async_trait;
use raidhall_protocol::rest::Profile;
use raidhall_protocol::{PlayerId, RaidId, UnixMillis};

use super::{InstanceId, RaidRow, Result};

/// What is known of the players who are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlayerLookup {
    /// The id.
    Id(PlayerId),
    /// The id in the host app.
    ExternalId(String),
    /// How the name begins, in either case.
    Name(String),
}

/// A player as operators see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayerRow {
    /// Name and totals.
    pub profile: Profile,
    /// The id in the host app.
    pub external_id: Option<String>,
    /// Why they are banned, if they are.
    pub ban: Option<String>,
}

/// What is known of the raids that are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RaidLookup {
    /// The id.
    Id(RaidId),
    /// How the title begins, in either case.
    Title(String),
}

/// An instance whose lease lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRow {
    /// Its name.
    pub id: InstanceId,
    /// Where clients reach its socket door.
    pub ws_url: String,
    /// The release it runs.
    pub release: String,
    /// Whether it is about to leave.
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
