//! The lines of a backup, version 2; version 1 has no definitions of progression, no streams of
//! players and no leaderboards. The format has types of its own, like the stored state, because users keep such files.
//!
//! Each line is a map with one key, which names its kind. Bytes are hexadecimal text, times are
//! Unix milliseconds. The members of raids are not in the file, because they follow from the
//! ledger.

use serde::{Deserialize, Serialize};

use crate::store::backup::{
    AuditLine, BanLine, BoardScoreLine, DefinitionsLine, EventLine, IdsLine, PlayerEventLine,
    PlayerLine, RaidLine, SignInLine, SnapshotLine, StreamLine,
};

/// Version of the format that this build writes, and the newest that it reads.
pub const VERSION: u32 = 2;

/// Name of the format, at the beginning of each file.
pub const FORMAT: &str = "raidhall-backup";

/// One line of a backup. Lines come in this order: the header, definitions by number, players by id (each followed
/// by its stream, the stream's events by seq, and its scores by board and number), raids by id (each followed by its snapshot and its events
/// by seq), sign-ins by id, bans by player, audit entries
/// in their order, ids, the footer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "named as what they hold")]
pub enum BackupLine {
    Header(HeaderLine),
    Definitions(DefinitionsLine),
    Player(PlayerLine),
    Stream(StreamLine),
    PlayerEvent(PlayerEventLine),
    BoardScore(BoardScoreLine),
    Raid(RaidLine),
    Snapshot(SnapshotLine),
    Event(EventLine),
    SignIn(SignInLine),
    Ban(BanLine),
    Deed(AuditLine),
    Ids(IdsLine),
    Footer(FooterLine),
}

/// The first line: where the file comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderLine {
    /// Name of the format, always [`FORMAT`].
    pub format: String,
    /// Version of the format, at most [`VERSION`].
    pub version: u32,
    /// The release that wrote the file.
    pub release: String,
    /// When the export began, by the clock of the machine that made it.
    pub made_at: i64,
    /// The kind of database that was exported.
    pub database: String,
    /// The lineage of the exported database.
    pub lineage: String,
    /// Whether the file includes sign-ins.
    pub sign_ins: bool,
    /// Since when the exported database has leaderboards; version 1 has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boards_since: Option<i64>,
    /// Up to when windows of leaderboards that closed are final; version 1 has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boards_final_until: Option<i64>,
}

/// The last line: counts and a hash, which prove that the file is complete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FooterLine {
    /// Number of definitions in the file; the fields up to `deeds` count the other kinds of lines.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub definitions: u64,
    pub players: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub streams: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub player_events: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub board_scores: u64,
    pub raids: u64,
    pub events: u64,
    pub sign_ins: u64,
    pub bans: u64,
    pub deeds: u64,
    /// Number of blocks before this one.
    pub blocks: u64,
    /// SHA-256 of all bytes of the file before this block, in hexadecimal.
    pub sha256: String,
}

/// Returns whether a count can be left out, as in version 1, which does not have it.
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Encodes bytes as the format does, in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// Decodes bytes from lower-case hexadecimal; `None` if the text is not that.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).ok()
}
