//! Response bodies of the REST API for operators (webhooks included), and of sign-out, account
//! links and erasure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{PlayerId, RaidId, Seq, UnixMillis};
use crate::rest::Profile;
use crate::server::PlayerRef;

/// Response to a sign-out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignedOut {
    /// Always true: the sign-in is over.
    pub signed_out: bool,
}

/// Response to a link: from now on the external identity signs this player in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Linked {
    /// Id of the player.
    pub player: PlayerId,
    /// Id of the player's external identity.
    pub external_id: String,
}

/// Response to an erasure request: the account is closed, and the player's texts in raids are
/// removed in the background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Erased {
    /// Id of the player.
    pub player: PlayerId,
    /// Always true: the erasure is certain to happen.
    pub erased: bool,
}

/// Ban status of a player, after a ban was set or lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// Id of the player.
    pub player: PlayerId,
    /// Whether the player is banned.
    pub banned: bool,
}

/// A player's score, after an operator removed it from a leaderboard or restored it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScoreRemoval {
    /// Id of the leaderboard.
    pub board: String,
    /// Number of the window.
    pub number: i64,
    /// Id of the player.
    pub player: PlayerId,
    /// Whether the score is removed: it is neither listed nor ranked.
    pub removed: bool,
}

/// Response to a request to disconnect a player.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disconnected {
    /// Player whose connections end within two seconds, on every instance.
    pub player: PlayerId,
}

/// A ban in the list of bans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ban {
    /// Player who is banned.
    pub player: PlayerRef,
    /// Reason for the ban.
    pub reason: String,
    /// Token subject of the operator who set the ban.
    pub by: String,
    /// When the ban was set.
    pub at: UnixMillis,
}

/// A player as operators see one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlayerView {
    /// Name and totals of the player.
    #[serde(flatten)]
    pub profile: Profile,
    /// Id of the player's external identity, if there is one.
    pub external_id: Option<String>,
    /// Reason for the player's ban; null if the player is not banned.
    pub ban: Option<String>,
}

/// An instance with a live lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceView {
    /// Id of the instance, new at each start.
    pub id: String,
    /// URL at which clients reach the instance's WebSocket.
    pub ws_url: String,
    /// Release that the instance runs.
    pub release: String,
    /// Whether the instance is draining.
    pub draining: bool,
    /// When the lease expires unless it is renewed.
    pub lease_until: UnixMillis,
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Id of the entry, larger than those before; pass the last one as `after` for the next page.
    pub id: u64,
    /// When the action was recorded.
    pub at: UnixMillis,
    /// Subject of the caller's token.
    pub actor: String,
    /// Name of the action.
    pub action: String,
    /// What the action applied to.
    pub target: String,
    /// Value of the request's `X-Request-ID`.
    pub request_id: String,
    /// Parameters of the action.
    pub details: Value,
}

/// A webhook endpoint and the state of its deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookView {
    /// Name of the endpoint.
    pub name: String,
    /// URL of the endpoint.
    pub url: String,
    /// Event types that are sent to the endpoint.
    pub types: Vec<String>,
    /// Instance that delivers to the endpoint; null if none does.
    pub owner: Option<String>,
    /// Why the endpoint is paused, until it is resumed; null if it is not paused.
    pub paused: Option<String>,
    /// Deliveries that wait for another attempt, counted up to 10,000.
    pub waiting: u64,
    /// Deliveries that are dead, counted up to 10,000.
    pub dead: u64,
}

/// A parked webhook delivery: it waits for another attempt, or is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookDelivery {
    /// Id of the delivery; pass the last one as `after` for the next page.
    pub id: u64,
    /// Raid of the event.
    pub raid: RaidId,
    /// Seq of the event.
    pub seq: Seq,
    /// Number of failed attempts.
    pub attempts: u32,
    /// When the next attempt is due; null for a dead delivery.
    pub next_at: Option<UnixMillis>,
    /// Error of the latest attempt.
    pub error: String,
    /// When the first attempt failed, or when a replay of the event was requested.
    pub first_failed_at: UnixMillis,
}

/// Response to a replay of webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replayed {
    /// Number of deliveries that are tried again at once.
    pub replayed: u64,
}

/// Response to a request to resume a paused endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resumed {
    /// Whether the endpoint was paused.
    pub resumed: bool,
}
