//! The store in SQLite, for a single instance: one file, durable commits, one process at a time.
//!
//! `writer` owns the only connection that writes. Reads use a small pool, and see what was
//! committed when they began.

mod audit;
mod backup;
mod boards;
mod catalog;
mod commit;
mod definitions;
mod erasures;
mod event_row;
mod fault;
mod feed;
mod identities;
mod leases;
mod ledger;
mod lock;
mod moderation;
mod ownership;
mod players;
mod projection;
mod schema;
mod statements;
mod streams;
#[cfg(test)]
mod tests;
mod webhooks;
mod writer;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
pub use backup::{SqliteSource, SqliteTarget};
use fault::failed;
use lock::Lock;
use rustix::fs::Access;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::Mutex;
use tokio::time::Instant;
use writer::{Lane, WriterHandle};

use super::{RegisterError, Result, Store};
use crate::store::StoreError;

/// How long a statement waits for another process that has the file locked (a backup, a shell). It
/// is well below any lease, because renewals wait behind the statement.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a read waits for a free connection of the readers' pool.
const READER_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval between attempts to take a lock that another process holds.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The store in a database file. The file is closed when the store is dropped and all jobs have
/// ended.
pub struct SqliteStore {
    path: PathBuf,
    writer: WriterHandle,
    readers: SqlitePool,
    /// Whether this process has voided the leases of former processes.
    has_voided_leases: Mutex<bool>,
}

impl Store for SqliteStore {}

impl SqliteStore {
    /// Opens the database of a `sqlite:` URL, with up to `readers` connections for reading. A
    /// missing file, or its missing directory, is created. In-memory databases are refused because
    /// they are not durable.
    pub async fn open(url: &str, readers: u32) -> Result<SqliteStore> {
        SqliteStore::open_or_create(url, readers, true).await
    }

    /// Opens an existing database, as [`SqliteStore::open`] does.
    pub async fn open_existing(url: &str, readers: u32) -> Result<SqliteStore> {
        SqliteStore::open_or_create(url, readers, false).await
    }

    async fn open_or_create(url: &str, readers: u32, create: bool) -> Result<SqliteStore> {
        const OPERATION: &str = "open database";
        if url.contains(":memory:") || url.contains("mode=memory") {
            let source = anyhow::anyhow!("a database in memory is not durable");
            return Err(StoreError::Refused {
                operation: OPERATION,
                source,
            });
        }
        let options: SqliteConnectOptions = url.parse().map_err(failed(OPERATION))?;
        let path = options.get_filename().to_owned();
        check_access(&path, create).map_err(|source| StoreError::Unavailable {
            operation: OPERATION,
            source,
        })?;
        let options = options
            .create_if_missing(create)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .row_buffer_size(512)
            .pragma("temp_store", "memory");
        let writing = options
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", "-32768") // KiB
            .pragma("secure_delete", "on") // free pages must not keep an erased player's texts
            .pragma("journal_size_limit", "67108864"); // bytes that the log keeps after a burst
        let writer = WriterHandle::start(writing, Lock::for_database(&path)).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(readers.max(1))
            .acquire_timeout(READER_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(options.pragma("query_only", "on"));
        Ok(SqliteStore {
            path,
            writer,
            readers,
            has_voided_leases: Mutex::new(false),
        })
    }

    /// Gives the database a new lineage, under the database's lock: the last step of every restore.
    pub async fn rename_lineage(&self, patience: Duration) -> Result<String, RegisterError> {
        self.acquire_lock(patience).await?;
        Ok(self
            .writer
            .write("rename lineage", |transaction| {
                Box::pin(leases::rename_lineage(transaction))
            })
            .await?)
    }

    /// Takes the database's lock; waits up to `patience` while another process has it.
    async fn acquire_lock(&self, patience: Duration) -> Result<(), RegisterError> {
        let deadline = Instant::now() + patience;
        let take = || {
            self.writer.run("lock database", Lane::Leases, |writer| {
                Box::pin(async { writer.lock.try_acquire() })
            })
        };
        while !take().await? {
            if Instant::now() >= deadline {
                return Err(RegisterError::InUse);
            }
            tokio::time::sleep(LOCK_RETRY_INTERVAL).await;
        }
        Ok(())
    }
}

/// Checks what SQLite needs to open a database: a file that exists, unless it may be created, and a
/// directory in which it can create files. SQLite itself names neither path nor cause.
fn check_access(database: &Path, create: bool) -> anyhow::Result<()> {
    let directory = database
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if create {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("create the directory {}", directory.display()))?;
    }
    rustix::fs::access(directory, Access::WRITE_OK)
        .with_context(|| format!("write to the directory {}", directory.display()))?;
    match std::fs::metadata(database) {
        Ok(file) if file.is_dir() => bail!("{} is a directory", database.display()),
        // SQLite would create what a link to nothing names.
        Err(error)
            if create
                && error.kind() == ErrorKind::NotFound
                && std::fs::symlink_metadata(database).is_err() =>
        {
            Ok(())
        }
        Err(error) => Err(error).with_context(|| format!("open {}", database.display())),
        Ok(_) => rustix::fs::access(database, Access::READ_OK | Access::WRITE_OK)
            .with_context(|| format!("write to {}", database.display())),
    }
}
