//! The sizes that are part of the contract. Limits that an operator sets are in the server's configuration.

use std::ops::RangeInclusive;

/// The path of the WebSocket door.
pub const SOCKET_PATH: &str = "/api/v1/ws";
/// The subprotocol of binary MessagePack frames.
pub const SUBPROTOCOL_MSGPACK: &str = "raidhall.v1.msgpack";
/// The subprotocol of JSON text frames.
pub const SUBPROTOCOL_JSON: &str = "raidhall.v1.json";
/// How many maps and lists deep a message may nest, itself counted.
pub const DEPTH_MAX: usize = 32;
/// Characters of a player's name.
pub const NAME_CHARS_MAX: usize = 40;
/// Characters of a host app's id for a player.
pub const EXTERNAL_ID_CHARS_MAX: usize = 200;
/// Characters of a raid's title.
pub const TITLE_CHARS_MAX: usize = 80;
/// Characters of a raid's description.
pub const DESCRIPTION_CHARS_MAX: usize = 500;
/// A raid's goal in xp.
pub const TARGET_XP: RangeInclusive<i64> = 1..=1_000_000;
/// A raid's goal in tasks.
pub const TARGET_TASKS: RangeInclusive<i64> = 0..=10_000;
/// Seconds from a raid's start to its deadline.
pub const TIME_LIMIT_SECS: RangeInclusive<i64> = 60..=604_800;
/// Members of a raid.
pub const MEMBERS: RangeInclusive<i64> = 2..=100;
/// Characters of a task's title.
pub const TASK_TITLE_CHARS_MAX: usize = 120;
/// What a task may earn.
pub const TASK_XP: RangeInclusive<i64> = 1..=1_000;
/// How long a task may be meant to take.
pub const TASK_MINUTES: RangeInclusive<i64> = 0..=480;
/// What the host app's backend may credit at once.
pub const CONTRIBUTION_XP: RangeInclusive<i64> = 1..=10_000;
/// Characters of a contribution's kind.
pub const CONTRIBUTION_KIND_CHARS_MAX: usize = 50;
/// Characters of a contribution's note.
pub const NOTE_CHARS_MAX: usize = 200;
/// Characters of a chat message.
pub const CHAT_CHARS_MAX: usize = 500;
/// Characters of the reason for a ban.
pub const REASON_CHARS_MAX: usize = 500;
/// Text that is there: no control characters, and not only white space.
pub const TEXT: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$";
/// Text that may be empty: no control characters.
pub const TEXT_OR_NONE: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";
/// How many chat messages a raid's state holds.
pub const MESSAGES_SHOWN: usize = 50;
/// Characters of a signal's kind.
pub const SIGNAL_KIND_CHARS_MAX: usize = 32;
