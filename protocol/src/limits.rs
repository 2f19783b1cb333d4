//! Limits that are part of the contract. Limits that an operator sets are in the server's
//! configuration.

use std::ops::RangeInclusive;

/// Path of the WebSocket on the server.
pub const SOCKET_PATH: &str = "/api/v1/ws";
/// WebSocket subprotocol of binary MessagePack frames.
pub const SUBPROTOCOL_MSGPACK: &str = "raidhall.v1.msgpack";
/// WebSocket subprotocol of JSON text frames.
pub const SUBPROTOCOL_JSON: &str = "raidhall.v1.json";
/// Maximum nesting depth of maps and lists in a message, the message itself counted.
pub const DEPTH_MAX: usize = 32;
/// Maximum characters of a player's name.
pub const NAME_CHARS_MAX: usize = 40;
/// Maximum characters of a host app's id for a player.
pub const EXTERNAL_ID_CHARS_MAX: usize = 200;
/// Maximum characters of a raid's title.
pub const TITLE_CHARS_MAX: usize = 80;
/// Maximum characters of a raid's description.
pub const DESCRIPTION_CHARS_MAX: usize = 500;
/// Range of a raid's goal in XP.
pub const TARGET_XP: RangeInclusive<i64> = 1..=1_000_000;
/// Range of a raid's goal in tasks.
pub const TARGET_TASKS: RangeInclusive<i64> = 0..=10_000;
/// Range of the seconds from a raid's start to its deadline.
pub const TIME_LIMIT_SECS: RangeInclusive<i64> = 60..=604_800;
/// Range of a raid's maximum number of members.
pub const MEMBERS: RangeInclusive<i64> = 2..=100;
/// Maximum number of tasks of a raid.
pub const TASKS_MAX: usize = 500;
/// Maximum characters of a task's title.
pub const TASK_TITLE_CHARS_MAX: usize = 120;
/// Range of the XP that a task earns.
pub const TASK_XP: RangeInclusive<i64> = 1..=1_000;
/// Range of the minutes that a task should take.
pub const TASK_MINUTES: RangeInclusive<i64> = 0..=480;
/// Range of the XP that one contribution of the host app's backend credits.
pub const CONTRIBUTION_XP: RangeInclusive<i64> = 1..=10_000;
/// Maximum characters of a contribution's kind.
pub const CONTRIBUTION_KIND_CHARS_MAX: usize = 50;
/// Maximum characters of a contribution's note.
pub const NOTE_CHARS_MAX: usize = 200;
/// Range of the time until which a member is muted, in Unix milliseconds: to the end of the year
/// 9999.
pub const MUTE_UNTIL: RangeInclusive<i64> = 0..=253_402_300_799_999;
/// Maximum characters of a chat message.
pub const CHAT_CHARS_MAX: usize = 500;
/// Maximum characters of the reason for a ban.
pub const REASON_CHARS_MAX: usize = 500;
/// Number of chat messages that a raid's state holds.
pub const MESSAGES_SHOWN: usize = 50;
/// Maximum characters of a signal's kind.
pub const SIGNAL_KIND_CHARS_MAX: usize = 32;
/// Maximum characters of a setting's key.
pub const SETTING_KEY_CHARS_MAX: usize = 64;
/// Maximum bytes of a setting's value as JSON.
pub const SETTING_BYTES_MAX: usize = 1_024;
/// Maximum bytes of a player's settings as JSON, with their keys.
pub const SETTINGS_BYTES_MAX: usize = 16_384;
/// Maximum number of a player's settings whose keys begin with `app.`.
pub const APP_SETTINGS_MAX: usize = 64;
/// Number of raids that a player's state holds.
pub const PLAYER_RAIDS_SHOWN: usize = 200;
/// Number of notifications that a player's state holds.
pub const INBOX_ITEMS_SHOWN: usize = 50;
/// Maximum characters of a notification's kind.
pub const NOTICE_KIND_CHARS_MAX: usize = 32;
/// Maximum characters of a notification's title.
pub const NOTICE_TITLE_CHARS_MAX: usize = 120;
/// Maximum characters of a notification's text.
pub const NOTICE_BODY_CHARS_MAX: usize = 1_000;
/// Maximum characters of a notification's URL.
pub const NOTICE_URL_CHARS_MAX: usize = 500;
/// Maximum bytes of a notification as JSON.
pub const NOTICE_BYTES_MAX: usize = 2_048;
/// Maximum characters of the id of an item of the shop.
pub const ITEM_CHARS_MAX: usize = 64;
/// Range of the coins that one grant of the host app's backend moves.
pub const COINS_GRANTED: RangeInclusive<i64> = -1_000_000..=1_000_000;
/// Range of what one correction of an operator adds to a balance.
pub const CORRECTION_AMOUNT: RangeInclusive<i64> = -1_000_000_000..=1_000_000_000;
