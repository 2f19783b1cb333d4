//! Everything that a database keeps, as one file; and a database from such a file.
//!
//! The file goes between the stores: SQLite to Postgres and back. [`export`] reads one moment of a database that may be
//! in use, [`import()`] fills an empty one in one transaction and believes nothing that it has not folded. Neither holds
//! more than a raid's state and a page of rows. The form is in `docs/BACKUP.md`.

mod blocks;
mod exporter;
pub mod format;
mod importer;
mod reader;
mod verify;

use std::io;

use async_trait::async_trait;
pub use exporter::{ExportCounts, Options, export};
use format::{
    AuditLine, BackupLine, BanLine, EventLine, HeaderLine, IdsLine, PlayerLine, RaidLine,
    SignInLine, SnapshotLine,
};
pub use importer::{ImportReport, import};
use raidhall_protocol::{PlayerId, RaidId};
pub use reader::FileFault;
pub(crate) use verify::with_earnings;

use crate::store::{self, StoreError};

/// The rows that are read or written at once.
const PAGE_ROWS: u32 = 500;

/// Why a backup was not made or not taken.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody has the database's lock.
    #[error("a server, or another command, is using the database")]
    InUse,
    /// It would be overwritten.
    #[error("the database holds {0} already: a backup goes only into an empty one")]
    NotEmpty(&'static str),
    /// The file cannot be read or written.
    #[error("{operation} the backup")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The file is not what was written: nothing was imported.
    #[error(transparent)]
    Damaged(#[from] FileFault),
    /// The file is whole, and says what cannot be: nothing was imported.
    #[error("{place}: {why}")]
    Invalid {
        /// Which raid, player or line.
        place: String,
        /// What is wrong with it.
        why: String,
    },
}

impl BackupError {
    fn invalid(place: impl ToString, why: impl ToString) -> BackupError {
        BackupError::Invalid {
            place: place.to_string(),
            why: why.to_string(),
        }
    }
}

/// One moment of a database, read in pages. What is read is what was committed when it was opened.
#[async_trait]
pub trait BackupSource: Send {
    /// The kind of database, for the header.
    fn database_kind(&self) -> &'static str;

    /// The name of this history.
    async fn lineage(&mut self) -> store::Result<String>;

    /// Which ids have been given out.
    async fn allocated_ids(&mut self) -> store::Result<IdsLine>;

    /// Players with ids over `after`, in their order.
    async fn players(&mut self, after: i64, limit: u32) -> store::Result<Vec<PlayerLine>>;

    /// Raids with ids over `after`, in their order.
    async fn raids(&mut self, after: i64, limit: u32) -> store::Result<Vec<RaidLine>>;

    /// The newest state that was kept of a raid.
    async fn snapshot(&mut self, raid: i64) -> store::Result<Option<SnapshotLine>>;

    /// A raid's events with a seq over `after`, in their order.
    async fn events(
        &mut self,
        raid: &RaidLine,
        after: i64,
        limit: u32,
    ) -> store::Result<Vec<EventLine>>;

    /// Sign-ins that were not revoked, with ids over `after` (hexadecimal), in their order.
    async fn sign_ins(&mut self, after: &str, limit: u32) -> store::Result<Vec<SignInLine>>;

    /// Bans of players with ids over `after`, in their order.
    async fn bans(&mut self, after: i64, limit: u32) -> store::Result<Vec<BanLine>>;

    /// Lines of the audit log with ids over `after`, in their order.
    async fn audit_entries(&mut self, after: i64, limit: u32) -> store::Result<Vec<AuditLine>>;
}

/// An empty database inside one transaction: whatever is not finished has never been.
#[async_trait]
pub trait BackupTarget: Send {
    /// Adds players.
    async fn add_players(&mut self, rows: &[PlayerLine]) -> store::Result<()>;

    /// Adds a raid that nobody owns.
    async fn add_raid(&mut self, raid: &RaidLine) -> store::Result<()>;

    /// Adds the newest state of a raid.
    async fn add_snapshot(&mut self, row: &SnapshotLine) -> store::Result<()>;

    /// Adds events of a raid to the ledger.
    async fn add_events(&mut self, raid: &RaidLine, rows: &[EventLine]) -> store::Result<()>;

    /// Names a raid's members, and who was one before.
    async fn add_members(
        &mut self,
        raid: RaidId,
        members: &[PlayerId],
        former: &[PlayerId],
    ) -> store::Result<()>;

    /// Adds sign-ins.
    async fn add_sign_ins(&mut self, rows: &[SignInLine]) -> store::Result<()>;

    /// Adds bans.
    async fn add_bans(&mut self, rows: &[BanLine]) -> store::Result<()>;

    /// Adds lines to the audit log, in their order.
    async fn add_audit_entries(&mut self, rows: &[AuditLine]) -> store::Result<()>;

    /// The id of a player whose totals are not what the ledger adds up to, if there is one.
    async fn find_wrong_totals(&mut self) -> store::Result<Option<i64>>;

    /// Sets which ids have been given out, and the lineage to this or to a new one; then all of it becomes true at once.
    async fn commit(self: Box<Self>, ids: &IdsLine, lineage: Option<&str>) -> store::Result<()>;
}
