//! The store in SQLite, for a single instance: one file, durable commits, one process at a time.
//!
//! `writer` owns the only connection that writes. Reads use a small pool, and see what was
//! committed when they began.

mod audit;
mod backup;
mod catalog;
mod commit;
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
mod statements;
#[cfg(test)]
mod tests;
mod webhooks;
mod writer;

use std::path::Path;
use std::time::Duration;

pub use backup::{SqliteSource, SqliteTarget};
use fault::{failed, refused};
use lock::Lock;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::time::Instant;
use writer::{Lane, WriterHandle};

use super::{RegisterError, Result, Store};
use crate::store::StoreError;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

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
    writer: WriterHandle,
    readers: SqlitePool,
}

impl Store for SqliteStore {}

impl SqliteStore {
    /// Opens the database of a `sqlite:` URL, with up to `readers` connections for reading. A
    /// missing file, or its missing directory, is created. In-memory databases are refused because
    /// they are not durable.
    pub async fn open(url: &str, readers: u32) -> Result<SqliteStore> {
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
        make_directory(&path).map_err(|error| refused(OPERATION, error))?;
        let options = options
            .create_if_missing(true)
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
        Ok(SqliteStore { writer, readers })
    }

    /// Brings the schema up to this release. It takes the database's lock first, as
    /// [`Leases::register`](super::Leases::register) does, and keeps it, so that a schema never
    /// changes under a running server. A newer schema is left alone, since migrations only add.
    pub async fn migrate(&self, patience: Duration) -> Result<(), RegisterError> {
        self.acquire_lock(patience).await?;
        let migrate = self.writer.run("migrate", Lane::General, |writer| {
            Box::pin(async {
                let mut migrations = Migrator {
                    migrations: MIGRATIONS.migrations.clone(),
                    ..Migrator::DEFAULT
                };
                migrations.set_ignore_missing(true);
                let migrated = migrations
                    .run_direct(None, &mut writer.connection, false)
                    .await;
                migrated.map_err(|error| refused("migrate", error))
            })
        });
        Ok(migrate.await?)
    }

    /// Gives the database a new lineage, under the database's lock: the last step of every restore.
    pub async fn rename_lineage(&self, patience: Duration) -> Result<String, RegisterError> {
        self.acquire_lock(patience).await?;
        Ok(self
            .writer
            .run("rename lineage", Lane::General, |writer| {
                Box::pin(leases::rename_lineage(writer))
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

fn make_directory(database: &Path) -> std::io::Result<()> {
    match database.parent() {
        Some(directory) => std::fs::create_dir_all(directory),
        None => Ok(()),
    }
}
