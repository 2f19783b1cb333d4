//! Events of a player's stream. An event carries results, so a client that applies events to a
//! state gets the server's state without knowing the rules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use crate::ids::{RaidId, Seq, UnixMillis};

/// Newest version of the data of player events that this build knows. The store keeps
/// [`PlayerEventData::version`] with each event.
pub const PLAYER_EVENT_VERSION: u16 = 1;

/// A numbered event of one player's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct PlayerEvent {
    /// Position of the event in the player's stream.
    pub seq: Seq,
    /// When the event happened, by the database's clock; never before the previous event.
    pub at: UnixMillis,
    /// The event of a raid that caused this one; null if none did.
    pub cause: Option<RaidPlace>,
    /// Type and data of the event.
    #[serde(flatten)]
    pub data: PlayerEventData,
}

/// The place of an event in a raid's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct RaidPlace {
    /// Id of the raid.
    pub raid: RaidId,
    /// Seq of the event.
    pub seq: Seq,
}

/// Data of a player event, tagged by `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum PlayerEventData {
    /// A setting was set.
    SettingSet {
        /// Name of the setting.
        key: String,
        /// Value of the setting.
        #[ts(type = "unknown")]
        value: Value,
        /// How often the setting has been set.
        version: u64,
    },
    /// The player's name was changed.
    NameChanged {
        /// The player's new name.
        name: String,
    },
    /// The player was notified.
    Notified {
        /// Kind of the notification.
        kind: String,
        /// Data of the notification, which depends on its kind.
        #[ts(type = "unknown")]
        data: Value,
    },
    /// The notifications up to a seq were read.
    ReadThrough {
        /// The seq of the newest notification that was read.
        seq: Seq,
    },
}

impl PlayerEventData {
    /// Returns the name of the event's type on the wire and in the store.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SettingSet { .. } => "setting_set",
            Self::NameChanged { .. } => "name_changed",
            Self::Notified { .. } => "notified",
            Self::ReadThrough { .. } => "read_through",
        }
    }

    /// Returns the version of the data's format: the first version with this type in its current
    /// form. A release that does not know the version leaves the stream to releases that do.
    pub const fn version(&self) -> u16 {
        1
    }
}
