//! Messages that the server sends.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use crate::error::ErrorBody;
use crate::event::Event;
use crate::ids::{PlayerId, RaidId, Seq, UnixMillis};
use crate::player::PlayerMessage;
use crate::state::RaidState;

/// A message from the server, tagged by `t`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ServerMessage {
    /// Answers `hello`: the connection is authenticated.
    Welcome {
        /// The authenticated player; null for a token that speaks for no player.
        player: Option<PlayerRef>,
        /// Name of this connection in the server's logs.
        session: String,
        /// Current time of the server's clock.
        now: UnixMillis,
        /// Interval between `beat` messages, in milliseconds.
        heartbeat_ms: u64,
        /// Limits on what this connection may send.
        limits: WelcomeLimits,
        /// Id of the database's history; if it has changed, discard the seqs that you hold.
        lineage: String,
        /// Parts of the protocol that this server has: `player` for the player's stream.
        #[serde(default)] // absent before 0.3
        features: Vec<String>,
    },
    /// Confirms a resumed watch: exactly the events after `since` follow, then live ones.
    Watching {
        /// Correlation number of the message that is answered; absent if it had none, and if nothing
        /// was asked.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Id of the raid.
        raid: RaidId,
        /// Newest seq of the raid.
        seq: Seq,
        /// Always true: the missed events follow.
        recovered: bool,
        /// Members who are online.
        online: Vec<PlayerId>,
    },
    /// The whole state of a raid, which replaces what the client holds. Events after `seq` follow.
    Snapshot {
        /// Correlation number of the message that is answered; absent if it had none, and if nothing
        /// was asked.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Id of the raid.
        raid: RaidId,
        /// Seq that the state is a function of.
        seq: Seq,
        /// Always false: missed events are not sent.
        recovered: bool,
        /// Members who are online.
        online: Vec<PlayerId>,
        /// State of the raid at `seq`.
        state: Box<RaidState>,
    },
    /// Ends a watch: no more messages of this raid follow.
    Unwatched {
        /// Correlation number of the message that is answered; absent if it had none, and if nothing
        /// was asked.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Id of the raid.
        raid: RaidId,
        /// Why the watch ended.
        reason: UnwatchReason,
    },
    /// Reports an event of a watched raid.
    Event {
        /// Id of the raid.
        raid: RaidId,
        /// Event with its seq, type and data.
        #[serde(flatten)]
        event: Event,
    },
    /// Reports that members came online or went offline.
    Presence {
        /// Id of the raid.
        raid: RaidId,
        /// Members who came online.
        online: Vec<PlayerId>,
        /// Members who went offline.
        offline: Vec<PlayerId>,
    },
    /// Heartbeat, which the client answers with `beat`.
    Beat {
        /// Current time of the server's clock.
        now: UnixMillis,
        /// Newest seq of each watched raid, by the raid's id; of the player's stream under `me`.
        heads: BTreeMap<String, Seq>,
    },
    /// Confirms that a command is committed.
    Ack {
        /// Correlation number of the command.
        id: u64,
        /// Id of the raid.
        raid: RaidId,
        /// Seq of the last event that the command caused; the raid's newest if it caused none.
        seq: Seq,
        /// Whether the command's op had already taken effect.
        duplicate: bool,
    },
    /// Reports that a message was refused or could not be carried out.
    Error {
        /// The `t` of the message; `frames` or `bytes` if the connection sends too fast.
        re: String,
        /// Correlation number of the message, if it could be read.
        id: Option<u64>,
        /// Raid of the message, if it could be read.
        raid: Option<RaidId>,
        /// Player of a message that names the player's stream; absent for others.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        player: Option<PlayerId>,
        /// Error, with whether to retry.
        error: ErrorBody,
    },
    /// Delivers a signal from another connection that watches the raid.
    Signal {
        /// Id of the raid.
        raid: RaidId,
        /// Player who sent the signal.
        from: PlayerId,
        /// Kind of the signal.
        kind: String,
        /// Data of the signal, as sent.
        #[ts(type = "unknown")]
        data: Value,
    },
    /// Announces that the server will close this connection.
    Bye {
        /// Why the connection will be closed.
        reason: ByeReason,
        /// How long to wait before reconnecting, in milliseconds.
        reconnect_after_ms: u64,
    },
    /// Concerns the player's own stream.
    #[serde(untagged)]
    Player(PlayerMessage),
}

impl ServerMessage {
    /// Returns the name of the message's type on the wire.
    pub const fn t(&self) -> &'static str {
        match self {
            Self::Welcome { .. } => "welcome",
            Self::Watching { .. } => "watching",
            Self::Snapshot { .. } => "snapshot",
            Self::Unwatched { .. } => "unwatched",
            Self::Event { .. } => "event",
            Self::Presence { .. } => "presence",
            Self::Beat { .. } => "beat",
            Self::Ack { .. } => "ack",
            Self::Error { .. } => "error",
            Self::Signal { .. } => "signal",
            Self::Bye { .. } => "bye",
            Self::Player(message) => message.t(),
        }
    }
}

/// A player's id and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct PlayerRef {
    /// Id of the player.
    pub id: PlayerId,
    /// Name of the player.
    pub name: String,
}

/// Limits on what one connection may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct WelcomeLimits {
    /// Largest message that is accepted, in bytes.
    pub message_bytes: u64,
    /// Sustained rate of messages other than `beat`, per second.
    pub commands_per_second: u64,
    /// Number of raids that can be watched at once.
    pub watches: u64,
}

/// Why a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnwatchReason {
    /// The client sent `unwatch`.
    Asked,
    /// The leader removed the player from the raid.
    Kicked,
    /// The player left the raid.
    Left,
    /// The player may no longer see the raid.
    Forbidden,
}

/// Why the server closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ByeReason {
    /// The server shuts down; another instance is available, or will be.
    Draining,
}
