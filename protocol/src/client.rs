//! What a client sends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ts_rs::TS;

use crate::command::Command;
use crate::error::FieldFault;
use crate::fields::Fields;
use crate::ids::{OpKey, RaidId, Seq};
use crate::limits::SIGNAL_KIND_CHARS_MAX;

/// A message from a client, by `t`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Who I am; again to renew the token.
    Hello {
        /// An access token.
        token: String,
        /// Name and version of the program, for the server's logs.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<String>,
    },
    /// Show me a raid, from `since` on if I have been here before.
    Watch {
        /// Correlation number, echoed in an error.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// The raid.
        raid: RaidId,
        /// The newest seq the client holds.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Seq>,
    },
    /// Stop showing me a raid.
    Unwatch {
        /// Correlation number, echoed in an error.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// The raid.
        raid: RaidId,
    },
    /// Do something in a raid.
    Do {
        /// Correlation number, echoed in the answer.
        id: u64,
        /// The raid.
        raid: RaidId,
        /// Idempotency key: with it, the command takes effect at most once.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        op: Option<OpKey>,
        /// What to do.
        cmd: Command,
    },
    /// Tell the other watchers something that need not last.
    Signal {
        /// Correlation number, echoed in an error.
        #[ts(optional)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// The raid.
        raid: RaidId,
        /// What it is, `[a-z_]{1,32}`.
        kind: String,
        /// Anything, at most 1 KiB as JSON.
        #[ts(type = "unknown")]
        data: Value,
    },
    /// I am alive.
    Beat,
}

impl ClientMessage {
    /// The correlation number, where the client gave one.
    pub const fn id(&self) -> Option<u64> {
        match self {
            Self::Do { id, .. } => Some(*id),
            Self::Watch { id, .. } | Self::Unwatch { id, .. } | Self::Signal { id, .. } => *id,
            Self::Hello { .. } | Self::Beat => None,
        }
    }

    /// The raid it is about, if any.
    pub const fn raid(&self) -> Option<RaidId> {
        match self {
            Self::Watch { raid, .. }
            | Self::Unwatch { raid, .. }
            | Self::Do { raid, .. }
            | Self::Signal { raid, .. } => Some(*raid),
            Self::Hello { .. } | Self::Beat => None,
        }
    }

    /// Its name on the wire.
    pub const fn t(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Watch { .. } => "watch",
            Self::Unwatch { .. } => "unwatch",
            Self::Do { .. } => "do",
            Self::Signal { .. } => "signal",
            Self::Beat => "beat",
        }
    }

    /// Reads the message named `t` from the fields of its map. Errs with every faulty field.
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
    let message = match t {
        "hello" => {
            let (token, client) = (fields.text("token"), fields.optional_text("client"));
            ClientMessage::Hello {
                token: token?,
                client: client?,
            }
        }
        "watch" => {
            let (id, raid) = (fields.optional_natural("id"), fields.id("raid"));
            let since = fields.optional_natural("since");
            ClientMessage::Watch {
                id: id?,
                raid: raid?,
                since: since?.map(Seq),
            }
        }
        "unwatch" => {
            let (id, raid) = (fields.optional_natural("id"), fields.id("raid"));
            ClientMessage::Unwatch {
                id: id?,
                raid: raid?,
            }
        }
        "do" => {
            let (id, raid) = (fields.natural("id"), fields.id("raid"));
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
            let (id, raid) = (fields.optional_natural("id"), fields.id("raid"));
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

fn read_signal_kind(fields: &mut Fields<'_>) -> Option<String> {
    let kind = fields.text("kind")?;
    let fits = (1..=SIGNAL_KIND_CHARS_MAX).contains(&kind.len());
    if fits && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        return Some(kind);
    }
    fields.fault("kind", "must be 1 to 32 characters of a-z _");
    None
}
