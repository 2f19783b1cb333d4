//! Backups: a database's durable content as one file, and the import of such a file.
//!
//! A file can move between stores, from SQLite to Postgres and back. [`export`] reads a consistent
//! view of a database that may be in use. [`import()`] fills an empty database in one transaction,
//! and **accepts only what it has verified by folding the events**. Neither holds more than one
//! raid's or player's state and one page of rows in memory. The format is described in `docs/BACKUP.md`.

mod blocks;
mod checks;
mod event_checks;
mod exporter;
pub mod format;
mod importer;
mod reader;
mod stream_verify;
mod verify;

use std::io;

pub use exporter::{ExportCounts, Options, export};
pub use importer::{ImportReport, import};
pub use reader::FileFault;

use crate::store::StoreError;
use crate::store::backup::OpenTargetError;

/// Number of rows that are read or written at once.
const PAGE_ROWS: u32 = 500;

/// Why an export or an import failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The target database cannot be used for an import.
    #[error(transparent)]
    Target(#[from] OpenTargetError),
    /// The file cannot be read or written.
    #[error("{operation} the backup")]
    Io {
        operation: &'static str,
        source: io::Error,
    },
    /// The file is not as it was written; nothing was imported.
    #[error(transparent)]
    Damaged(#[from] FileFault),
    /// The file is undamaged, but its content is contradictory; nothing was imported.
    #[error("{place}: {why}")]
    Invalid {
        /// The raid, player or line at fault.
        place: String,
        /// What is wrong with `place`.
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
