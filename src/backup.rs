//! Everything that a database keeps, as one file; and a database from such a file.
//!
//! The file goes between the stores: SQLite to Postgres and back. [`export`] reads one moment of a database that may be
//! in use, [`import()`] fills an empty one in one transaction and believes nothing that it has not folded. Neither holds
//! more than a raid's state and a page of rows. The form is in `docs/BACKUP.md`.

mod check;
mod file;
pub mod form;
mod import;
mod reading;
mod writing;

use std::io;

use async_trait::async_trait;
pub(crate) use check::earned;
use form::{Ban, Deed, Entry, Event, Header, Ids, Player, Raid, SignIn, Snapshot};
pub use import::{Imported, import};
use raidhall_protocol::{PlayerId, RaidId};
pub use reading::FileFault;
pub use writing::{Exported, Options, export};

use crate::store::{self, StoreError};

/// The rows that are read or written at once.
const PAGE: u32 = 500;

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
    Wrong {
        /// Which raid, player or line.
        place: String,
        /// What is wrong with it.
        why: String,
    },
}

impl BackupError {
    fn wrong(place: impl ToString, why: impl ToString) -> BackupError {
        BackupError::Wrong {
            place: place.to_string(),
            why: why.to_string(),
        }
    }
}

/// One moment of a database, read in pages. What is read is what was committed when it was opened.
#[async_trait]
pub trait Source: Send {
    /// The kind of database, for the header.
    fn kind(&self) -> &'static str;

    /// The name of this history.
    async fn lineage(&mut self) -> store::Result<String>;

    /// Which ids have been given out.
    async fn ids(&mut self) -> store::Result<Ids>;

    /// Players with ids over `after`, in their order.
    async fn players(&mut self, after: i64, limit: u32) -> store::Result<Vec<Player>>;

    /// Raids with ids over `after`, in their order.
    async fn raids(&mut self, after: i64, limit: u32) -> store::Result<Vec<Raid>>;

    /// The newest state that was kept of a raid.
    async fn snapshot(&mut self, raid: i64) -> store::Result<Option<Snapshot>>;

    /// A raid's events with a seq over `after`, in their order.
    async fn events(&mut self, raid: &Raid, after: i64, limit: u32) -> store::Result<Vec<Event>>;

    /// Sign-ins that were not revoked, with ids over `after` (hexadecimal), in their order.
    async fn sign_ins(&mut self, after: &str, limit: u32) -> store::Result<Vec<SignIn>>;

    /// Bans of players with ids over `after`, in their order.
    async fn bans(&mut self, after: i64, limit: u32) -> store::Result<Vec<Ban>>;

    /// Lines of the audit log with ids over `after`, in their order.
    async fn deeds(&mut self, after: i64, limit: u32) -> store::Result<Vec<Deed>>;
}

/// An empty database inside one transaction: whatever is not finished has never been.
#[async_trait]
pub trait Target: Send {
    /// Adds players.
    async fn players(&mut self, rows: &[Player]) -> store::Result<()>;

    /// Adds a raid that nobody owns.
    async fn raid(&mut self, raid: &Raid) -> store::Result<()>;

    /// Adds the newest state of a raid.
    async fn snapshot(&mut self, row: &Snapshot) -> store::Result<()>;

    /// Adds events of a raid to the ledger.
    async fn events(&mut self, raid: &Raid, rows: &[Event]) -> store::Result<()>;

    /// Names a raid's members, and who was one before.
    async fn members(
        &mut self,
        raid: RaidId,
        members: &[PlayerId],
        former: &[PlayerId],
    ) -> store::Result<()>;

    /// Adds sign-ins.
    async fn sign_ins(&mut self, rows: &[SignIn]) -> store::Result<()>;

    /// Adds bans.
    async fn bans(&mut self, rows: &[Ban]) -> store::Result<()>;

    /// Adds lines to the audit log, in their order.
    async fn deeds(&mut self, rows: &[Deed]) -> store::Result<()>;

    /// The id of a player whose totals are not what the ledger adds up to, if there is one.
    async fn wrong_totals(&mut self) -> store::Result<Option<i64>>;

    /// Sets which ids have been given out, and the lineage to this or to a new one; then all of it becomes true at once.
    async fn finish(self: Box<Self>, ids: &Ids, lineage: Option<&str>) -> store::Result<()>;
}
