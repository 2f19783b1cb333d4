//! The lines of a backup, version 1. The form is its own, as the stored state's is: files in it are on people's disks.
//!
//! Each line is a map with one key, which says what it is. Bytes stand as hexadecimal text, times as Unix milliseconds.
//! Who is a member of which raid is not among them: it follows from the ledger.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version that this build writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// What the file is, for whoever opens it.
pub const FORMAT: &str = "raidhall-backup";

/// One line. They come in this order: the header, players by id, raids by id (each followed by its snapshot and its
/// events by seq), sign-ins by id, bans by player, deeds in their order, ids, the footer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "named as what they hold")]
pub enum BackupLine {
    Header(HeaderLine),
    Player(PlayerLine),
    Raid(RaidLine),
    Snapshot(SnapshotLine),
    Event(EventLine),
    SignIn(SignInLine),
    Ban(BanLine),
    Deed(AuditLine),
    Ids(IdsLine),
    Footer(FooterLine),
}

/// Where the file comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderLine {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The release that wrote it.
    pub release: String,
    /// When it was begun, by the clock of the machine that made it.
    pub made_at: i64,
    /// The kind of database that it was read from.
    pub database: String,
    /// The name of that database's history.
    pub lineage: String,
    /// Whether sign-ins went along.
    pub sign_ins: bool,
}

/// A player and their totals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the columns")]
pub struct PlayerLine {
    pub id: i64,
    pub name: String,
    pub xp: i64,
    pub tasks: i64,
    pub raids_won: i64,
    pub created_at: i64,
    pub external_id: Option<String>,
    /// Their raids are looked through once more after an import.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<i64>,
}

/// A raid's row, without an owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the columns")]
pub struct RaidLine {
    pub id: i64,
    pub born: i32,
    pub title: String,
    pub invite_code: String,
    pub create_key: Option<String>,
    pub target_xp: i64,
    pub target_tasks: i64,
    pub time_limit_secs: i64,
    pub created_at: i64,
    pub status: String,
    pub deadline: Option<i64>,
    pub current_xp: i64,
    pub current_tasks: i64,
    pub ended_at: Option<i64>,
    pub epoch: i64,
    pub last_seq: i64,
}

/// The newest state that was kept of the raid of the line before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the columns")]
pub struct SnapshotLine {
    pub raid: i64,
    pub seq: i64,
    /// In the rules' versioned form.
    pub state: String,
}

/// An event of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the columns")]
pub struct EventLine {
    pub raid: i64,
    pub seq: i64,
    pub at: i64,
    pub by: Option<i64>,
    pub version: i32,
    pub kind: String,
    pub op_key: Option<String>,
    /// As on the wire; the keys in alphabetical order.
    pub data: Value,
}

/// A sign-in that can be renewed. Of tokens there is only their SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the columns")]
pub struct SignInLine {
    pub id: String,
    pub player: i64,
    pub current: String,
    pub previous: Option<String>,
    pub rotated_at: i64,
    pub expires_at: i64,
}

/// A player who may not come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the columns")]
pub struct BanLine {
    pub player: i64,
    pub reason: String,
    pub by: String,
    pub at: i64,
}

/// A line of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the columns")]
pub struct AuditLine {
    /// Only their order is kept.
    #[serde(default, skip_serializing)]
    pub id: i64,
    pub at: i64,
    pub actor: String,
    pub action: String,
    pub target: String,
    pub request_id: String,
    pub details: Value,
}

/// Ids up to these have been given out, whether or not they were used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the tables")]
pub struct IdsLine {
    pub players: i64,
    pub raids: i64,
}

/// That the file is whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FooterLine {
    /// How many of each there were.
    pub players: u64,
    /// Likewise.
    pub raids: u64,
    /// Likewise.
    pub events: u64,
    /// Likewise.
    pub sign_ins: u64,
    /// Likewise.
    pub bans: u64,
    /// Likewise.
    pub deeds: u64,
    /// The blocks before this one.
    pub blocks: u64,
    /// SHA-256 of all bytes of the file before this block, in hexadecimal.
    pub sha256: String,
}

/// Bytes as the form has them.
pub fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
