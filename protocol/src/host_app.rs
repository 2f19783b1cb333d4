//! Response bodies of the REST API for the host app's backend.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::ids::RaidId;
use crate::server::PlayerRef;

/// A player of the host app (`POST /players`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostPlayer {
    /// Id and name of the player.
    #[serde(flatten)]
    pub player: PlayerRef,
    /// The host app's own id for the player.
    pub external_id: String,
}

/// A row of the feed (`GET /events`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeedEvent {
    /// Id of the event's raid.
    pub raid: RaidId,
    /// The event, as on the WebSocket.
    #[serde(flatten)]
    pub event: Event,
}

/// One page of the feed (`GET /events`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeedPage {
    /// Events in the order in which they were committed.
    pub data: Vec<FeedEvent>,
    /// Feed cursor to pass as `after` for the next page; never null, because more events will
    /// follow.
    pub next_cursor: String,
}
