//! Traits by which a backup is read from a database and written into an empty one.
//!
//! Rows are those of the tables, without what only a running server needs. Bytes are hexadecimal
//! text, times are Unix milliseconds, and keys of JSON are in alphabetical order, so that a row is
//! the same from every store.

use async_trait::async_trait;
use raidhall_protocol::{PlayerId, RaidId, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{RegisterError, Result, StoreError};

/// Why a backup cannot be imported into a database. Nothing but its schema was changed.
#[derive(Debug, Error)]
pub enum OpenTargetError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A server or another command holds the database's lock.
    #[error("a server, or another command, is using the database")]
    InUse,
    /// The database has rows in one of its tables, which a backup must not overwrite.
    #[error("the database holds {0} already: a backup goes only into an empty one")]
    NotEmpty(&'static str),
}

impl From<RegisterError> for OpenTargetError {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::InUse | RegisterError::OtherGeneration { .. } => Self::InUse,
            RegisterError::Store(error) => Self::Store(error),
        }
    }
}

/// A row of `progression_definitions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the columns")]
pub struct DefinitionsLine {
    pub number: i64,
    /// SHA-256 of the body, as hexadecimal text.
    pub hash: String,
    pub body: String,
    pub applied_at: i64,
}

/// A row of `players`: a player and their totals.
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
    /// When the account was erased. After an import the player's raids are searched for their texts
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<i64>,
}

/// A row of `player_streams`. Its line follows the player's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the columns")]
pub struct StreamLine {
    pub player: i64,
    pub last_seq: i64,
    /// The state in the rules' versioned encoding, as hexadecimal text.
    pub state: String,
    pub state_seq: i64,
    pub due_at: Option<i64>,
}

/// A row of `player_events`: one event of a player's stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the columns")]
pub struct PlayerEventLine {
    pub player: i64,
    pub seq: i64,
    pub at: i64,
    pub kind: String,
    pub version: i32,
    pub op_key: Option<String>,
    pub cause_raid: Option<i64>,
    pub cause_seq: Option<i64>,
    /// The event's data as on the wire, with keys in alphabetical order.
    pub data: Value,
}

/// A row of `board_scores`. Its line follows the player's stream, whose settings say whether it is
/// public.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the columns")]
pub struct BoardScoreLine {
    pub board: String,
    pub number: i64,
    pub player: i64,
    pub score: i64,
    pub reached_at: i64,
    pub reached_raid: i64,
    pub reached_seq: i64,
    pub is_removed: bool,
}

/// A row of `raids`, without the owner.
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

/// The newest snapshot of a raid. Its line follows the raid's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the columns")]
pub struct SnapshotLine {
    pub raid: i64,
    pub seq: i64,
    /// The state in the rules' versioned encoding, as hexadecimal text.
    pub state: String,
}

/// A row of the ledger: one event.
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
    /// The event's data as on the wire, with keys in alphabetical order.
    pub data: Value,
    /// The number of the definitions in force for the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definitions: Option<i64>,
}

/// An event with the ledger's columns that derive from its data: the player who earned XP, and how
/// much.
#[derive(Debug, Serialize)]
pub struct EventWithEarnings<'e> {
    /// The event as it is in the backup.
    #[serde(flatten)]
    pub event: &'e EventLine,
    /// The player who earned XP by the event.
    pub player: Option<PlayerId>,
    pub xp: Option<u64>,
}

/// A token family that can still be renewed. Of its tokens only their SHA-256 is stored.
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

/// A row of `bans`: a banned player.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the columns")]
pub struct BanLine {
    pub player: i64,
    pub reason: String,
    pub by: String,
    pub at: i64,
}

/// A row of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the columns")]
pub struct AuditLine {
    /// Not part of a backup, which keeps only the order of the entries.
    #[serde(default, skip_serializing)]
    pub id: i64,
    pub at: i64,
    pub actor: String,
    pub action: String,
    pub target: String,
    pub request_id: String,
    pub details: Value,
}

/// The largest ids that have been allocated, whether or not they were used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the tables")]
pub struct IdsLine {
    pub players: i64,
    pub raids: i64,
}

/// A consistent view of a database, read in pages: what was committed when it was opened.
#[async_trait]
pub trait BackupSource: Send {
    /// Returns the kind of database, for the backup's header.
    fn database_kind(&self) -> &'static str;

    /// Returns the database's lineage.
    async fn lineage(&mut self) -> Result<String>;

    /// Returns since when the database has leaderboards.
    async fn boards_since(&mut self) -> Result<i64>;

    /// Returns up to when windows of leaderboards that closed are final.
    async fn boards_final_until(&mut self) -> Result<i64>;

    /// Returns the largest ids that have been allocated.
    async fn allocated_ids(&mut self) -> Result<IdsLine>;

    /// Returns definitions with numbers above `after`, in the order of their numbers, at most
    /// `limit`.
    async fn definitions(&mut self, after: i64, limit: u32) -> Result<Vec<DefinitionsLine>>;

    /// Returns players with ids above `after`, in the order of their ids, at most `limit`.
    async fn players(&mut self, after: i64, limit: u32) -> Result<Vec<PlayerLine>>;

    /// Returns the stream of the first player with an id above `after` who has one. Those that an
    /// erasure or a deletion has yet to delete are left out.
    async fn next_stream(&mut self, after: i64) -> Result<Option<StreamLine>>;

    /// Returns events of a player's stream with a seq above `after`, in the order of their seqs, at
    /// most `limit`.
    async fn player_events(
        &mut self,
        player: i64,
        after: i64,
        limit: u32,
    ) -> Result<Vec<PlayerEventLine>>;

    /// Returns a player's scores after those of the window `number` of `board`, by board and number, at
    /// most `limit`.
    async fn board_scores(
        &mut self,
        player: i64,
        board: &str,
        number: i64,
        limit: u32,
    ) -> Result<Vec<BoardScoreLine>>;

    /// Returns raids with ids above `after`, in the order of their ids, at most `limit`.
    async fn raids(&mut self, after: i64, limit: u32) -> Result<Vec<RaidLine>>;

    /// Returns the newest snapshot of a raid, if there is one.
    async fn snapshot(&mut self, raid: i64) -> Result<Option<SnapshotLine>>;

    /// Returns a raid's events with a seq above `after`, in the order of their seqs, at most
    /// `limit`.
    async fn events(&mut self, raid: &RaidLine, after: i64, limit: u32) -> Result<Vec<EventLine>>;

    /// Returns sign-ins that were not revoked and have ids above `after` (hexadecimal), in the
    /// order of their ids, at most `limit`.
    async fn sign_ins(&mut self, after: &str, limit: u32) -> Result<Vec<SignInLine>>;

    /// Returns bans of players with ids above `after`, in the order of their ids, at most `limit`.
    async fn bans(&mut self, after: i64, limit: u32) -> Result<Vec<BanLine>>;

    /// Returns audit entries with ids above `after`, in the order of their ids, at most `limit`.
    async fn audit_entries(&mut self, after: i64, limit: u32) -> Result<Vec<AuditLine>>;
}

/// An empty database inside one transaction; an import that does not reach `commit` leaves no
/// trace.
#[async_trait]
pub trait BackupTarget: Send {
    /// Adds definitions. Those that a server stored when it first used the empty database are gone.
    async fn add_definitions(&mut self, row: &DefinitionsLine) -> Result<()>;

    async fn add_players(&mut self, rows: &[PlayerLine]) -> Result<()>;

    /// Adds the row of a player's stream.
    async fn add_stream(&mut self, row: &StreamLine) -> Result<()>;

    async fn add_player_events(&mut self, rows: &[PlayerEventLine]) -> Result<()>;

    /// Adds scores of one player, whose setting lets others see them or not. They are counted at the end.
    async fn add_board_scores(&mut self, rows: &[BoardScoreLine], is_public: bool) -> Result<()>;

    /// Sets since when the database has leaderboards.
    async fn set_boards_since(&mut self, since: i64) -> Result<()>;

    /// Sets up to when windows of leaderboards that closed are final.
    async fn set_boards_final_until(&mut self, until: i64) -> Result<()>;

    /// Adds a raid without an owner.
    async fn add_raid(&mut self, raid: &RaidLine) -> Result<()>;

    /// Adds a raid's newest snapshot.
    async fn add_snapshot(&mut self, row: &SnapshotLine) -> Result<()>;

    /// Adds events of a raid to the ledger.
    async fn add_events(&mut self, raid: &RaidLine, rows: &[EventWithEarnings<'_>]) -> Result<()>;

    /// Adds a raid's members, each with the time of joining, its former members, and the leader of a
    /// raid that has not ended.
    async fn add_members(
        &mut self,
        raid: RaidId,
        members: &[(PlayerId, UnixMillis)],
        former: &[PlayerId],
        leader: Option<PlayerId>,
    ) -> Result<()>;

    async fn add_sign_ins(&mut self, rows: &[SignInLine]) -> Result<()>;

    async fn add_bans(&mut self, rows: &[BanLine]) -> Result<()>;

    /// Adds audit entries, in the order of `rows`.
    async fn add_audit_entries(&mut self, rows: &[AuditLine]) -> Result<()>;

    /// Returns the id of a player whose totals are above the sums of the ledger, if there is one.
    async fn find_wrong_totals(&mut self) -> Result<Option<i64>>;

    /// Sets the allocated ids and the lineage (a new one if `None`), and commits the transaction.
    async fn commit(self: Box<Self>, ids: &IdsLine, lineage: Option<&str>) -> Result<()>;
}
