//! The seam through which a backup is read from a database and written into an empty one.
//!
//! Rows are those of the tables, without what only a running server needs. Bytes are hexadecimal text, times are Unix
//! milliseconds, and keys of JSON are in alphabetical order, so that a row is the same from every store.

use async_trait::async_trait;
use raidhall_protocol::{PlayerId, RaidId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{Result, StoreError};

/// Why a database cannot be filled from a backup. It was not changed, but for its schema.
#[derive(Debug, Error)]
pub enum OpenTargetError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A server or another command holds the database's lock.
    #[error("a server, or another command, is using the database")]
    InUse,
    /// The database has rows in one of its tables, which a backup must not overwrite.
    #[error("the database holds {0} already: a backup goes only into an empty one")]
    NotEmpty(&'static str),
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

/// An event as the ledger keeps it: the player who earned by it, and how much, are columns that follow from its data.
#[derive(Debug, Serialize)]
pub struct EventWithEarnings<'e> {
    /// The event.
    #[serde(flatten)]
    pub event: &'e EventLine,
    /// The player who earned XP by it.
    pub player: Option<PlayerId>,
    /// How much XP.
    pub xp: Option<u64>,
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

/// One moment of a database, read in pages. What is read is what was committed when it was opened.
#[async_trait]
pub trait BackupSource: Send {
    /// The kind of database, for the header.
    fn database_kind(&self) -> &'static str;

    /// The name of this history.
    async fn lineage(&mut self) -> Result<String>;

    /// Which ids have been given out.
    async fn allocated_ids(&mut self) -> Result<IdsLine>;

    /// Players with ids over `after`, in their order.
    async fn players(&mut self, after: i64, limit: u32) -> Result<Vec<PlayerLine>>;

    /// Raids with ids over `after`, in their order.
    async fn raids(&mut self, after: i64, limit: u32) -> Result<Vec<RaidLine>>;

    /// The newest state that was kept of a raid.
    async fn snapshot(&mut self, raid: i64) -> Result<Option<SnapshotLine>>;

    /// A raid's events with a seq over `after`, in their order.
    async fn events(&mut self, raid: &RaidLine, after: i64, limit: u32) -> Result<Vec<EventLine>>;

    /// Sign-ins that were not revoked, with ids over `after` (hexadecimal), in their order.
    async fn sign_ins(&mut self, after: &str, limit: u32) -> Result<Vec<SignInLine>>;

    /// Bans of players with ids over `after`, in their order.
    async fn bans(&mut self, after: i64, limit: u32) -> Result<Vec<BanLine>>;

    /// Lines of the audit log with ids over `after`, in their order.
    async fn audit_entries(&mut self, after: i64, limit: u32) -> Result<Vec<AuditLine>>;
}

/// An empty database inside one transaction: whatever is not finished has never been.
#[async_trait]
pub trait BackupTarget: Send {
    /// Adds players.
    async fn add_players(&mut self, rows: &[PlayerLine]) -> Result<()>;

    /// Adds a raid that nobody owns.
    async fn add_raid(&mut self, raid: &RaidLine) -> Result<()>;

    /// Adds the newest state of a raid.
    async fn add_snapshot(&mut self, row: &SnapshotLine) -> Result<()>;

    /// Adds events of a raid to the ledger.
    async fn add_events(&mut self, raid: &RaidLine, rows: &[EventWithEarnings<'_>]) -> Result<()>;

    /// Names a raid's members, and who was one before.
    async fn add_members(
        &mut self,
        raid: RaidId,
        members: &[PlayerId],
        former: &[PlayerId],
    ) -> Result<()>;

    /// Adds sign-ins.
    async fn add_sign_ins(&mut self, rows: &[SignInLine]) -> Result<()>;

    /// Adds bans.
    async fn add_bans(&mut self, rows: &[BanLine]) -> Result<()>;

    /// Adds lines to the audit log, in their order.
    async fn add_audit_entries(&mut self, rows: &[AuditLine]) -> Result<()>;

    /// The id of a player whose totals are not what the ledger adds up to, if there is one.
    async fn find_wrong_totals(&mut self) -> Result<Option<i64>>;

    /// Sets which ids have been given out, and the lineage to this or to a new one; then all of it becomes true at once.
    async fn commit(self: Box<Self>, ids: &IdsLine, lineage: Option<&str>) -> Result<()>;
}
