//! The lock file beside the database, which allows one process at a time.
//!
//! What counts is the operating system's lock, not the file's existence: the lock ends with its
//! process, however that dies. The file stays.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::store::{Result, StoreError};

/// The lock of one database, held or not. Dropping it releases it.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    held: Option<File>,
}

impl Lock {
    /// Creates the lock of a database, not held yet.
    pub(super) fn for_database(database: &Path) -> Lock {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        Lock {
            path: path.into(),
            held: None,
        }
    }

    /// Takes the lock if it is free. Returns whether this process holds it now.
    pub(super) fn try_acquire(&mut self) -> Result<bool> {
        if self.held.is_some() {
            return Ok(true);
        }
        let unavailable = |error: std::io::Error| StoreError::Unavailable {
            operation: "lock database",
            source: anyhow::Error::new(error).context(format!("lock file {}", self.path.display())),
        };
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        // A planted link must not create a file elsewhere.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(
            &mut options,
            rustix::fs::OFlags::NOFOLLOW.bits().cast_signed(),
        );
        let file = options.open(&self.path).map_err(unavailable)?;
        match file.try_lock() {
            Ok(()) => self.held = Some(file),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(unavailable(error)),
        }
        Ok(true)
    }
}
