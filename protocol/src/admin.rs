//! The bodies of the operators' doors (webhooks among them), of signing out, of linking, and of being forgotten.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{PlayerId, RaidId, Seq, UnixMillis};
use crate::rest::Profile;
use crate::server::PlayerRef;

/// The answer to a sign-out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignedOut {
    /// True: the sign-in is over.
    pub signed_out: bool,
}

/// The answer to a link: the player is whom the identity vouches for from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Linked {
    /// Who.
    pub player: PlayerId,
    /// The id under which they are known elsewhere.
    pub external_id: String,
}

/// The answer to the wish to be forgotten: the account is closed; what the player wrote in raids is taken back meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Erased {
    /// Who.
    pub player: PlayerId,
    /// True: it is sure to happen.
    pub erased: bool,
}

/// How a player stands, after a ban was set or lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// Who.
    pub player: PlayerId,
    /// Whether they may not come in.
    pub banned: bool,
}

/// The answer to the wish to disconnect a player.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disconnected {
    /// Whose connections end within two seconds, on every instance.
    pub player: PlayerId,
}

/// A ban in the list of bans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ban {
    /// Who may not come in.
    pub player: PlayerRef,
    /// Why.
    pub reason: String,
    /// The subject of the operator who said so.
    pub by: String,
    /// When.
    pub at: UnixMillis,
}

/// A player as operators see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlayerView {
    /// Name and totals.
    #[serde(flatten)]
    pub profile: Profile,
    /// The id in the host app.
    pub external_id: Option<String>,
    /// Why they are banned; null if they are not.
    pub ban: Option<String>,
}

/// An instance whose lease lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceView {
    /// Its name, new at each start.
    pub id: String,
    /// Where clients reach its socket.
    pub ws_url: String,
    /// The release it runs.
    pub release: String,
    /// Whether it is about to leave.
    pub draining: bool,
    /// When its lease runs out unless it is renewed.
    pub lease_until: UnixMillis,
}

/// A deed in the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Grows with each; pass the last as `after` to go on.
    pub id: u64,
    /// When.
    pub at: UnixMillis,
    /// The subject of the token.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To whom or what.
    pub target: String,
    /// The request's `X-Request-ID`.
    pub request_id: String,
    /// With which values.
    pub details: Value,
}

/// Where webhooks are posted, and how that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookView {
    /// What it is called.
    pub name: String,
    /// Its address.
    pub url: String,
    /// What it is told.
    pub types: Vec<String>,
    /// Which instance delivers; null if none does.
    pub owner: Option<String>,
    /// Why nothing is sent, until it is resumed; null if it is not paused.
    pub paused: Option<String>,
    /// Deliveries that wait for another try; counted up to 10,000.
    pub waiting: u64,
    /// Deliveries that are dead; likewise.
    pub dead: u64,
}

/// A webhook that was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookDelivery {
    /// Pass it as `after` for those that follow.
    pub id: u64,
    /// Of which raid.
    pub raid: RaidId,
    /// Of which of its events.
    pub seq: Seq,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried again; null: it is dead.
    pub next_at: Option<UnixMillis>,
    /// What went wrong the last time.
    pub error: String,
    /// When it was first tried.
    pub first_failed_at: UnixMillis,
}

/// The answer to the wish for a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replayed {
    /// How many deliveries are tried at once.
    pub replayed: u64,
}

/// The answer to the wish that a paused endpoint goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resumed {
    /// Whether it was paused.
    pub resumed: bool,
}
