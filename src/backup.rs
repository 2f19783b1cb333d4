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

pub use exporter::{ExportCounts, Options, export};
pub use importer::{ImportReport, import};
pub use reader::FileFault;

use crate::store::StoreError;
use crate::store::backup::OpenTargetError;

/// The rows that are read or written at once.
const PAGE_ROWS: u32 = 500;

/// Why a backup was not made or not taken.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database that was to be filled.
    #[error(transparent)]
    Target(#[from] OpenTargetError),
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
