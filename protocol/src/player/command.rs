//! Commands to a player's stream.
//!
//! Only the types are checked here. The stream's rules decide which values are allowed, so that the
//! WebSocket and REST give the same answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use super::event::Balance;
use crate::fields::Fields;
use crate::ids::Seq;
use crate::limits::{
    COINS_GRANTED, CONTRIBUTION_KIND_CHARS_MAX, CONTRIBUTION_XP, CORRECTION_AMOUNT, ITEM_CHARS_MAX,
    NAME_CHARS_MAX, NOTE_CHARS_MAX, NOTICE_BODY_CHARS_MAX, NOTICE_KIND_CHARS_MAX,
    NOTICE_TITLE_CHARS_MAX, NOTICE_URL_CHARS_MAX, SETTING_KEY_CHARS_MAX,
};
use crate::text::{NAME, TEXT};

/// Pattern of the keys of settings.
const SETTING_KEY: &str = r"^(zone|day_start_hour|language|theme|sound|haptics|profile|boards|(app|notify)\.[A-Za-z0-9_.-]+)$";

/// Pattern of the URL of a notification: a path of the app, or an https URL. A path that begins with
/// two slashes would name another host.
const NOTICE_URL: &str = r"^(/([^/\\\s\x00-\x1f\x7f-\x9f][^\\\s\x00-\x1f\x7f-\x9f]*)?|https://[^/?#\\\s\x00-\x1f\x7f-\x9f][^\\\s\x00-\x1f\x7f-\x9f]*)$";

/// A command to a player's stream, tagged by `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PlayerCommand {
    /// Sets one of the player's settings.
    SetSetting {
        /// Name of the setting.
        #[schemars(length(min = 1, max = SETTING_KEY_CHARS_MAX), regex(pattern = SETTING_KEY))]
        key: String,
        /// Value of the setting, which depends on the key.
        #[ts(type = "unknown")]
        value: Value,
        /// The version that the setting must have, 0 if it was never set; absent: any.
        #[ts(optional = nullable)]
        if_version: Option<u64>,
    },
    /// Changes the player's name, for raids that they join from then on.
    SetName {
        /// The player's new name.
        #[schemars(length(min = 1, max = NAME_CHARS_MAX), regex(pattern = NAME))]
        name: String,
    },
    /// Marks what happened up to a seq as seen, and the notifications up to it as read.
    ReadThrough {
        /// The seq of the newest event that the player has seen, at most the stream's newest.
        seq: Seq,
    },
    /// Buys an item of the shop.
    Buy {
        /// Id of the item.
        #[schemars(length(min = 1, max = ITEM_CHARS_MAX))]
        item: String,
    },
    /// Puts on an item that the player has.
    Equip {
        /// Id of the item.
        #[schemars(length(min = 1, max = ITEM_CHARS_MAX))]
        item: String,
    },
    /// Repairs the streak that was lost, for coins.
    RepairStreak,
    /// Grants XP that counts in full; only the host app's backend may send it.
    GrantXp {
        /// How much XP it is.
        #[schemars(range(min = *CONTRIBUTION_XP.start(), max = *CONTRIBUTION_XP.end()))]
        amount: i64,
        /// What it is for, for programs. It decides which skill is trained.
        #[schemars(length(min = 1, max = CONTRIBUTION_KIND_CHARS_MAX), regex(pattern = "^[a-z_]*$"))]
        kind: String,
        /// What it is for, for the player.
        #[schemars(length(min = 1, max = NOTE_CHARS_MAX), regex(pattern = TEXT))]
        note: String,
    },
    /// Grants coins, or takes them; only the host app's backend may send it.
    GrantCoins {
        /// How many coins come; negative if they go. Not 0.
        #[schemars(range(min = *COINS_GRANTED.start(), max = *COINS_GRANTED.end()), extend("not" = {"const": 0}))]
        amount: i64,
        /// What they are for, for the player.
        #[schemars(length(min = 1, max = NOTE_CHARS_MAX), regex(pattern = TEXT))]
        note: String,
    },
    /// Grants an item of the shop; only the host app's backend may send it.
    GrantItem {
        /// Id of the item.
        #[schemars(length(min = 1, max = ITEM_CHARS_MAX))]
        item: String,
    },
    /// Corrects a balance of the player, or the days of their streak; only operators may send it.
    Correct {
        /// Which number it is.
        field: Balance,
        /// What is added to it; negative if it is taken away. Not 0.
        #[schemars(range(min = *CORRECTION_AMOUNT.start(), max = *CORRECTION_AMOUNT.end()), extend("not" = {"const": 0}))]
        amount: i64,
        /// Why it is corrected, for the player.
        #[schemars(length(min = 1, max = NOTE_CHARS_MAX), regex(pattern = TEXT))]
        note: String,
    },
    /// Adds a notification to the player's inbox; only the host app's backend may send it.
    Notify {
        /// Kind of the notification, for programs.
        #[schemars(length(min = 1, max = NOTICE_KIND_CHARS_MAX), regex(pattern = "^[a-z_]*$"))]
        kind: String,
        /// Title of the notification.
        #[schemars(length(min = 1, max = NOTICE_TITLE_CHARS_MAX), regex(pattern = NAME))]
        title: String,
        /// Text of the notification.
        #[schemars(length(min = 1, max = NOTICE_BODY_CHARS_MAX), regex(pattern = TEXT))]
        body: String,
        /// Where the notification leads: an https URL, or a path of the app that begins with `/`.
        #[ts(optional = nullable)]
        #[schemars(length(max = NOTICE_URL_CHARS_MAX), regex(pattern = NOTICE_URL))]
        url: Option<String>,
    },
}

impl PlayerCommand {
    /// Returns the name of the command's type on the wire.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SetSetting { .. } => "set_setting",
            Self::SetName { .. } => "set_name",
            Self::ReadThrough { .. } => "read_through",
            Self::Buy { .. } => "buy",
            Self::Equip { .. } => "equip",
            Self::RepairStreak => "repair_streak",
            Self::GrantXp { .. } => "grant_xp",
            Self::GrantCoins { .. } => "grant_coins",
            Self::GrantItem { .. } => "grant_item",
            Self::Correct { .. } => "correct",
            Self::Notify { .. } => "notify",
        }
    }

    /// Reads a command from the fields of `cmd`. Returns `None` after recording faults in `fields`.
    pub fn read(fields: &mut Fields<'_>) -> Option<PlayerCommand> {
        let kind = fields.text("type")?;
        let command = match kind.as_str() {
            "set_setting" => {
                let key = fields.text("key");
                let value = fields.any("value").clone();
                let if_version = fields.optional_natural("if_version");
                Self::SetSetting {
                    key: key?,
                    value,
                    if_version: if_version?,
                }
            }
            "set_name" => Self::SetName {
                name: fields.text("name")?,
            },
            "read_through" => Self::ReadThrough {
                seq: Seq(fields.natural("seq")?),
            },
            "buy" => Self::Buy {
                item: fields.text("item")?,
            },
            "equip" => Self::Equip {
                item: fields.text("item")?,
            },
            "repair_streak" => Self::RepairStreak,
            "grant_xp" => {
                let amount = fields.integer("amount");
                let kind = fields.text("kind");
                let note = fields.text("note");
                Self::GrantXp {
                    amount: amount?,
                    kind: kind?,
                    note: note?,
                }
            }
            "grant_coins" => {
                let amount = fields.integer("amount");
                let note = fields.text("note");
                Self::GrantCoins {
                    amount: amount?,
                    note: note?,
                }
            }
            "grant_item" => Self::GrantItem {
                item: fields.text("item")?,
            },
            "correct" => {
                let name = fields.text("field");
                let field = name.and_then(|name| {
                    Balance::from_name(&name).or_else(|| {
                        fields.fault("field", "must be xp, coins or streak");
                        None
                    })
                });
                let amount = fields.integer("amount");
                let note = fields.text("note");
                Self::Correct {
                    field: field?,
                    amount: amount?,
                    note: note?,
                }
            }
            "notify" => {
                let kind = fields.text("kind");
                let title = fields.text("title");
                let body = fields.text("body");
                let url = fields.optional_text("url");
                Self::Notify {
                    kind: kind?,
                    title: title?,
                    body: body?,
                    url: url?,
                }
            }
            _ => {
                fields.fault("type", "is not a command");
                return None;
            }
        };
        Some(command)
    }
}
