//! State of a player: a function of their stream up to one seq.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use crate::ids::{PlayerId, Seq, UnixMillis};

/// Everything about one player that their own devices show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct PlayerState {
    /// Id of the player.
    pub id: PlayerId,
    /// Name of the player.
    pub name: String,
    /// The settings that were set, by key.
    pub settings: BTreeMap<String, Setting>,
    /// The notifications of the player.
    pub inbox: Inbox,
}

/// One setting of a player.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Setting {
    /// Value of the setting, which depends on its key.
    #[ts(type = "unknown")]
    pub value: Value,
    /// How often the setting has been set.
    pub version: u64,
}

/// The notifications of a player.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct Inbox {
    /// Number of notifications among `items` that were not read.
    pub unread: u32,
    /// The latest 50 notifications, oldest first.
    pub items: Vec<InboxItem>,
}

/// A notification in a player's inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct InboxItem {
    /// The seq of the event that added it.
    pub seq: Seq,
    /// When it was added.
    pub at: UnixMillis,
    /// Kind of the notification.
    pub kind: String,
    /// Data of the notification, which depends on its kind.
    #[ts(type = "unknown")]
    pub data: Value,
    /// Whether it was read.
    pub read: bool,
}
