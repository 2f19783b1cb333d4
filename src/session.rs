//! Sessions: the raids that are live on this instance, each an actor task and its mailbox.
//!
//! Callers reach a session through the [`Registry`], by the raid's id; it finds or starts the
//! session. A full mailbox refuses at once with
//! [`Error::Overloaded`](crate::error::Error::Overloaded). A raid without watchers, requests or a
//! near deadline has no task and takes no memory.

mod access;
mod actor;
mod command_metrics;
mod create;
mod follower;
mod load;
mod mailbox;
mod message;
mod op_cache;
mod owner;
mod pending_replies;
mod presence;
mod read;
mod registry;
mod remote_watchers;
mod reply;
mod shared_read;
mod snapshot_cache;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use create::RaidCreator;
pub use follower::COMMAND_WAIT_MAX;
use raidhall_protocol::{PlayerId, RaidState, Seq};
pub use read::stored_members;
pub use registry::Registry;
use registry::{OwnedRaidGuard, request_reply};
pub use reply::Reply;
use serde::Deserialize;

use crate::auth::{Identity, Scope};
use crate::clock::Clock;
use crate::cluster::client::ClusterClient;
use crate::cluster::lease::Lease;
use crate::cluster::ownership::OwnershipClient;
use crate::fanout::audience::RingOptions;
use crate::option_value::millis;
use crate::raid::{self, Quotas};
use crate::store::Store;
use crate::store::journal::Journal;

/// Limits and timing of sessions.
#[derive(Debug, Clone, Deserialize)]
pub struct Options {
    /// Requests that may wait in one session's mailbox; another one is refused as `overloaded`.
    #[serde(rename = "inbox")]
    pub mailbox_messages_max: usize,
    /// How long a session lives without watchers and requests.
    #[serde(rename = "idle_timeout_ms", deserialize_with = "millis")]
    pub idle_timeout: Duration,
    /// How long a player stays online after its last watch ended.
    #[serde(rename = "presence_grace_ms", deserialize_with = "millis")]
    pub presence_grace: Duration,
    /// How long a leader may be offline while other members are online, before one of them leads.
    #[serde(rename = "leader_grace_ms", deserialize_with = "millis")]
    pub leader_grace: Duration,
    /// Op keys that one session remembers.
    #[serde(rename = "op_keys")]
    pub op_keys_max: usize,
    /// Events after a snapshot before the next one is stored.
    pub snapshot_min_events: u64,
    /// Events that a resume may be behind and still be replayed; beyond that it gets a snapshot.
    #[serde(rename = "replay_events")]
    pub replay_events_max: u64,
    /// Encoded events in one raid's ring.
    #[serde(rename = "ring_events")]
    pub ring_events_max: usize,
    /// Bytes of encoded events in one raid's ring, for each encoding.
    #[serde(rename = "ring_bytes")]
    pub ring_bytes_max: u64,
    /// How long a raid's load may take before its callers get `unavailable`: as long as a commit.
    #[serde(rename = "commit_patience_ms", deserialize_with = "millis")]
    pub load_timeout: Duration,
    /// Open raids that one player may lead, beyond which they can create none.
    #[serde(rename = "led_raids")]
    pub led_raids_max: u32,
    /// Events of one raid in a UTC day, after which chat messages and changes of tasks are refused,
    /// and after twice as many most other commands of players.
    #[serde(rename = "raid_events_per_day")]
    pub daily_events_max: u64,
    /// Tasks of a raid that one member added and that were not removed.
    #[serde(rename = "member_tasks")]
    pub member_tasks_max: usize,
    /// Connections to the store, which bound how many raids are loaded at once.
    #[serde(rename = "connections_max")]
    pub store_connections: u32,
}

impl Options {
    fn quotas(&self) -> Quotas {
        Quotas {
            daily_events_max: self.daily_events_max,
            member_tasks_max: self.member_tasks_max,
        }
    }

    fn ring(&self) -> RingOptions {
        RingOptions {
            events_max: self.ring_events_max,
            bytes_max: self.ring_bytes_max,
        }
    }
}

/// The caller of a request, which decides which raids it can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// A player, who sees the raids they are a member of.
    Player(PlayerId),
    /// The host app's backend, which sees every raid.
    Service,
    /// An operator, who sees every raid.
    Admin,
}

impl Caller {
    /// Returns whether this caller may see a raid.
    pub fn can_see(self, raid: &raid::State) -> bool {
        match self {
            Self::Player(player) => raid.is_member(player),
            Self::Service | Self::Admin => raid.seq() > Seq::ZERO,
        }
    }

    /// Returns the player's id; `None` for a service or an operator.
    pub const fn player(self) -> Option<PlayerId> {
        match self {
            Self::Player(player) => Some(player),
            Self::Service | Self::Admin => None,
        }
    }
}

impl From<&Identity> for Caller {
    fn from(identity: &Identity) -> Self {
        match (identity.scope, &identity.player) {
            (Scope::Player, Some(player)) => Self::Player(player.id),
            (Scope::Player, None) => unreachable!("a token of a player's scope names its player"),
            (Scope::Service, _) => Self::Service,
            (Scope::Admin, _) => Self::Admin,
        }
    }
}

/// A raid as of one committed seq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaidSnapshot {
    /// The state as sent to clients; the same for every caller.
    pub state: Arc<RaidState>,
    /// Seq of the last event folded into `state`.
    pub seq: Seq,
    /// Members who are online.
    pub online: Vec<PlayerId>,
    /// WebSocket URL of the raid's owner, if that is another instance.
    pub ws_url: Option<String>,
}

/// The services that sessions depend on.
pub struct Dependencies {
    /// Store from which raids are loaded.
    pub store: Arc<dyn Store>,
    /// Journal through which events are committed.
    pub journal: Journal,
    /// Clock that follows the database's time.
    pub clock: Arc<Clock>,
    /// This instance's lease; without a valid one it must not answer for its raids.
    pub lease: Arc<Lease>,
    /// Client for messages to the other instances.
    pub cluster: ClusterClient,
    /// Client that claims and releases raids in the store.
    pub claims: OwnershipClient,
}
