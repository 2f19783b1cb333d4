//! The bodies of the doors for the host app's backend.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::ids::RaidId;
use crate::server::PlayerRef;

/// A player of the host app (`POST /players`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostPlayer {
    /// Who.
    #[serde(flatten)]
    pub player: PlayerRef,
    /// What the host app calls them.
    pub external_id: String,
}

/// A row of the feed (`GET /events`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeedEvent {
    /// The raid.
    pub raid: RaidId,
    /// What happened in it, as on the wire.
    #[serde(flatten)]
    pub event: Event,
}

/// A stretch of the feed (`GET /events`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeedPage {
    /// In the order in which they were committed.
    pub data: Vec<FeedEvent>,
    /// What to pass as `after` for what follows; there is always one, for more will happen.
    pub next_cursor: String,
}
