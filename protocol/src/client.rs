//! Messages that a client sends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ts_rs::TS;

use crate::command::Command;
use crate::error::FieldFault;
use crate::fields::Fields;
use crate::ids::{OpKey, RaidId, Seq};
use crate::limits::SIGNAL_KIND_CHARS_MAX;
use crate::player::message::Me;
use crate::player::{PlayerCommand, PlayerRequest};

/// A message from a client, tagged by `t`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Authenticates the connection; sent again to renew the token.
    Hello {
        /// Access token to authenticate with.
        token: String,
        /// Name and version of the client program, for the server's logs.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<String>,
    },
    /// Starts to watch a raid, or resumes after `since`.
    Watch {
        /// Correlation number, echoed in the answer.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Id of the raid.
        raid: RaidId,
        /// Newest seq that the client holds.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Seq>,
    },
    /// Stops watching a raid.
    Unwatch {
        /// Correlation number, echoed in the answer.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Id of the raid.
        raid: RaidId,
    },
    /// Sends a command to a raid.
    Do {
        /// Correlation number, echoed in the answer.
        id: u64,
        /// Id of the raid.
        raid: RaidId,
        /// Idempotency key: with it, the command takes effect at most once.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        op: Option<OpKey>,
        /// Command to be executed in the raid.
        cmd: Command,
    },
    /// Sends a signal, which is never stored, to the raid's other watchers.
    Signal {
        /// Correlation number, echoed in an error.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Id of the raid.
        raid: RaidId,
        /// Kind of the signal, `[a-z_]{1,32}`.
        kind: String,
        /// Any value, at most 1 KiB as JSON unless the server is configured otherwise.
        #[ts(type = "unknown")]
        data: Value,
    },
    /// Answers a heartbeat and shows that the client is alive.
    Beat,
    /// Concerns the player's own stream.
    #[serde(untagged)]
    Player(PlayerRequest),
}

/// What a message concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// The raid with this id.
    Raid(RaidId),
    /// The stream of the client's own player.
    Me,
}

impl Topic {
    /// Returns the raid, if it is one.
    pub const fn raid(self) -> Option<RaidId> {
        match self {
            Self::Raid(raid) => Some(raid),
            Self::Me => None,
        }
    }
}

impl ClientMessage {
    /// Returns the correlation number, if the client gave one.
    pub const fn id(&self) -> Option<u64> {
        match self {
            Self::Do { id, .. } => Some(*id),
            Self::Watch { id, .. } | Self::Unwatch { id, .. } | Self::Signal { id, .. } => *id,
            Self::Player(request) => request.id(),
            Self::Hello { .. } | Self::Beat => None,
        }
    }

    /// Returns what the message concerns, if it is anything.
    pub const fn topic(&self) -> Option<Topic> {
        match self {
            Self::Watch { raid, .. }
            | Self::Unwatch { raid, .. }
            | Self::Do { raid, .. }
            | Self::Signal { raid, .. } => Some(Topic::Raid(*raid)),
            Self::Player(_) => Some(Topic::Me),
            Self::Hello { .. } | Self::Beat => None,
        }
    }

    /// Returns the name of the message's type on the wire.
    pub const fn t(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Watch { .. } => "watch",
            Self::Unwatch { .. } => "unwatch",
            Self::Do { .. } => "do",
            Self::Signal { .. } => "signal",
            Self::Beat => "beat",
            Self::Player(request) => request.t(),
        }
    }

    /// Reads the message named `t` from the fields of its map, or returns every faulty field.
    pub fn read(t: &str, map: &Map<String, Value>) -> Result<ClientMessage, Vec<FieldFault>> {
        Self::read_fields(t, Fields::new(map))
    }

    pub(crate) fn read_fields(
        t: &str,
        mut fields: Fields<'_>,
    ) -> Result<ClientMessage, Vec<FieldFault>> {
        let message = read(t, &mut fields);
        fields.finish(message)
    }
}

fn read(t: &str, fields: &mut Fields<'_>) -> Option<ClientMessage> {
    if matches!(t, "watch" | "unwatch" | "do") && fields.has("player") {
        return read_player_request(t, fields).map(ClientMessage::Player);
    }
    let message = match t {
        "hello" => {
            let token = fields.text("token");
            let client = fields.optional_text("client");
            ClientMessage::Hello {
                token: token?,
                client: client?,
            }
        }
        "watch" => {
            let id = fields.optional_natural("id");
            let raid = fields.id("raid");
            let since = fields.optional_natural("since");
            ClientMessage::Watch {
                id: id?,
                raid: raid?,
                since: since?.map(Seq),
            }
        }
        "unwatch" => {
            let id = fields.optional_natural("id");
            let raid = fields.id("raid");
            ClientMessage::Unwatch {
                id: id?,
                raid: raid?,
            }
        }
        "do" => {
            let id = fields.natural("id");
            let raid = fields.id("raid");
            let op = fields.optional_op("op");
            let cmd = fields.nested("cmd", Command::read);
            ClientMessage::Do {
                id: id?,
                raid: raid?,
                op: op?,
                cmd: cmd?,
            }
        }
        "signal" => {
            let id = fields.optional_natural("id");
            let raid = fields.id("raid");
            let kind = read_signal_kind(fields);
            ClientMessage::Signal {
                id: id?,
                raid: raid?,
                kind: kind?,
                data: fields.any("data").clone(),
            }
        }
        "beat" => ClientMessage::Beat,
        _ => {
            fields.fault("t", "is not a message");
            return None;
        }
    };
    Some(message)
}

fn read_player_request(t: &str, fields: &mut Fields<'_>) -> Option<PlayerRequest> {
    if fields.has("raid") {
        fields.fault("raid", "must not be beside `player`");
    }
    if fields.text("player")? != "me" {
        fields.fault("player", "must be me");
    }
    let player = Me::Me;
    let request = match t {
        "watch" => {
            let id = fields.optional_natural("id");
            let since = fields.optional_natural("since");
            PlayerRequest::Watch {
                id: id?,
                player,
                since: since?.map(Seq),
            }
        }
        "unwatch" => PlayerRequest::Unwatch {
            id: fields.optional_natural("id")?,
            player,
        },
        _ => {
            let id = fields.natural("id");
            let op = fields.optional_op("op");
            let cmd = fields.nested("cmd", PlayerCommand::read);
            PlayerRequest::Do {
                id: id?,
                player,
                op: op?,
                cmd: cmd?,
            }
        }
    };
    Some(request)
}

fn read_signal_kind(fields: &mut Fields<'_>) -> Option<String> {
    let kind = fields.text("kind")?;
    let fits = (1..=SIGNAL_KIND_CHARS_MAX).contains(&kind.len());
    if fits && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        return Some(kind);
    }
    fields.fault("kind", "must be 1 to 32 characters of a-z _");
    None
}
