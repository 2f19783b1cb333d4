//! The lines of a backup, version 1. The form is its own, as the stored state's is: files in it are on people's disks.
//!
//! Each line is a map with one key, which says what it is. Bytes stand as hexadecimal text, times as Unix milliseconds.
//! Who is a member of which raid is not among them: it follows from the ledger.

use serde::{Deserialize, Serialize};

use crate::store::backup::{
    AuditLine, BanLine, EventLine, IdsLine, PlayerLine, RaidLine, SignInLine, SnapshotLine,
};

/// The version that this build writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The name of the format, at the beginning of each file.
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
