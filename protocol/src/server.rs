//! What the server sends.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use crate::error::ErrorBody;
use crate::event::Event;
use crate::ids::{PlayerId, RaidId, Seq, UnixMillis};
use crate::state::RaidState;

/// A message from the server, by `t`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The answer to `hello`.
    Welcome {
        /// Who you are; null for a token that speaks for no player.
        player: Option<PlayerRef>,
        /// This connection's name in the server's logs.
        session: String,
        /// The server's clock.
        now: UnixMillis,
        /// How often `beat` comes, in milliseconds.
        heartbeat_ms: u64,
        /// What you may send.
        limits: WelcomeLimits,
        /// Names this history of the database; if it is not the one you hold cursors of, drop them.
        lineage: String,
    },
    /// You have everything up to `since`; exactly the events after it follow, then live ones.
    Watching {
        /// The raid.
        raid: RaidId,
        /// The newest seq.
        seq: Seq,
        /// Always true.
        recovered: bool,
        /// The members who are online.
        online: Vec<PlayerId>,
    },
    /// The raid as a whole; replaces what you hold. Events after `seq` follow.
    Snapshot {
        /// The raid.
        raid: RaidId,
        /// The seq that the state is a function of.
        seq: Seq,
        /// Always false.
        recovered: bool,
        /// The members who are online.
        online: Vec<PlayerId>,
        /// The state.
        state: Box<RaidState>,
    },
    /// Nothing more comes of this raid.
    Unwatched {
        /// The raid.
        raid: RaidId,
        /// Why.
        reason: UnwatchReason,
    },
    /// Something happened.
    Event {
        /// The raid.
        raid: RaidId,
        /// What.
        #[serde(flatten)]
        event: Event,
    },
    /// Members came online or went offline.
    Presence {
        /// The raid.
        raid: RaidId,
        /// Who is online now and was not.
        online: Vec<PlayerId>,
        /// Who was online and is not.
        offline: Vec<PlayerId>,
    },
    /// I am alive.
    Beat {
        /// The server's clock.
        now: UnixMillis,
        /// The newest seq of each watched raid.
        heads: BTreeMap<String, Seq>,
    },
    /// A command is committed.
    Ack {
        /// The command's correlation number.
        id: u64,
        /// The raid.
        raid: RaidId,
        /// The seq of the last event it caused.
        seq: Seq,
        /// Whether its op had taken effect before.
        duplicate: bool,
    },
    /// A message was refused, or could not be carried out.
    Error {
        /// The `t` of the message.
        re: String,
        /// Its correlation number, where given.
        id: Option<u64>,
        /// Its raid, where given.
        raid: Option<RaidId>,
        /// What went wrong.
        error: ErrorBody,
    },
    /// Another watcher signals.
    Signal {
        /// The raid.
        raid: RaidId,
        /// Who.
        from: PlayerId,
        /// What it is.
        kind: String,
        /// What they sent.
        #[ts(type = "unknown")]
        data: Value,
    },
    /// The server will close this connection.
    Bye {
        /// Why.
        reason: ByeReason,
        /// When to come back, in milliseconds.
        reconnect_after_ms: u64,
    },
}

impl ServerMessage {
    /// Its name on the wire.
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
        }
    }
}

/// A player's id and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct PlayerRef {
    /// Who.
    pub id: PlayerId,
    /// What they are called.
    pub name: String,
}

/// What one connection may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct WelcomeLimits {
    /// The largest message, in bytes.
    pub message_bytes: u64,
    /// Commands and signals per second.
    pub commands_per_second: u64,
    /// Raids watched at once.
    pub watches: u64,
}

/// Why a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnwatchReason {
    /// You asked.
    Asked,
    /// The leader sent you away.
    Kicked,
    /// You left the raid.
    Left,
    /// You may no longer see it.
    Forbidden,
}

/// Why the server lets a connection go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ByeReason {
    /// It is shutting down; another is there, or will be.
    Draining,
}
