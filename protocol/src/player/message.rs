//! Messages about the player's own stream, on the same WebSocket as those about raids. They name
//! `player` instead of `raid`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::{PlayerCommand, PlayerEvent, PlayerState};
use crate::ids::{OpKey, PlayerId, Seq};
use crate::server::UnwatchReason;

/// The player that the connection's token names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub enum Me {
    /// The only player that a client can name.
    #[serde(rename = "me")]
    Me,
}

/// A message from a client about its player's stream, tagged by `t`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum PlayerRequest {
    /// Starts to watch the stream, or resumes after `since`.
    Watch {
        /// Correlation number, echoed in the answer.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// The token's player: `me`.
        player: Me,
        /// Newest seq that the client holds.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Seq>,
    },
    /// Stops watching the stream.
    Unwatch {
        /// Correlation number, echoed in the answer.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// The token's player: `me`.
        player: Me,
    },
    /// Sends a command to the stream.
    Do {
        /// Correlation number, echoed in the answer.
        id: u64,
        /// The token's player: `me`.
        player: Me,
        /// Idempotency key: with it, the command takes effect at most once.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        op: Option<OpKey>,
        /// Command to be executed.
        cmd: PlayerCommand,
    },
}

impl PlayerRequest {
    /// Returns the correlation number, if the client gave one.
    pub const fn id(&self) -> Option<u64> {
        match self {
            Self::Do { id, .. } => Some(*id),
            Self::Watch { id, .. } | Self::Unwatch { id, .. } => *id,
        }
    }

    /// Returns the name of the message's type on the wire.
    pub const fn t(&self) -> &'static str {
        match self {
            Self::Watch { .. } => "watch",
            Self::Unwatch { .. } => "unwatch",
            Self::Do { .. } => "do",
        }
    }
}

/// A message from the server about the player's stream, tagged by `t`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum PlayerMessage {
    /// Confirms a resumed watch: exactly the events after `since` follow, then live ones.
    Watching {
        /// Correlation number of the message that is answered; absent if it had none.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Id of the player.
        player: PlayerId,
        /// Newest seq of the stream.
        seq: Seq,
        /// Always true: the missed events follow.
        recovered: bool,
    },
    /// The player's whole state, which replaces what the client holds. Events after `seq` follow.
    Snapshot {
        /// Correlation number of the message that is answered; absent if it had none.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Id of the player.
        player: PlayerId,
        /// Seq that the state is a function of.
        seq: Seq,
        /// Always false: missed events are not sent.
        recovered: bool,
        /// State of the player at `seq`.
        state: Box<PlayerState>,
    },
    /// Ends the watch: no more messages of the stream follow.
    Unwatched {
        /// Correlation number of the message that is answered; absent if it had none.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Id of the player.
        player: PlayerId,
        /// Why the watch ended.
        reason: UnwatchReason,
    },
    /// Reports an event of the stream.
    Event {
        /// Id of the player.
        player: PlayerId,
        /// Event with its seq, type and data.
        #[serde(flatten)]
        event: Box<PlayerEvent>,
    },
    /// Confirms that a command is committed.
    Ack {
        /// Correlation number of the command.
        id: u64,
        /// Id of the player.
        player: PlayerId,
        /// Seq of the last event that the command caused; the newest seq if it caused none.
        seq: Seq,
        /// Whether the command's op had already taken effect.
        duplicate: bool,
    },
}

impl PlayerMessage {
    /// Returns the name of the message's type on the wire.
    pub const fn t(&self) -> &'static str {
        match self {
            Self::Watching { .. } => "watching",
            Self::Snapshot { .. } => "snapshot",
            Self::Unwatched { .. } => "unwatched",
            Self::Event { .. } => "event",
            Self::Ack { .. } => "ack",
        }
    }
}
