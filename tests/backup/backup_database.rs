//! Databases that tests export from and import into.

use std::time::Duration;

use raidhall::backup::{self, BackupError, ExportCounts, ImportReport, Options};
use raidhall::store::Store;
use raidhall::store::backup::{BackupSource, BackupTarget, OpenTargetError};
use raidhall::store::postgres::{PostgresOptions, PostgresStore};
use raidhall::store::sqlite::{SqliteSource, SqliteStore, SqliteTarget};
use tempfile::TempDir;

use crate::database::PostgresDatabase;

const PATIENCE: Duration = Duration::from_secs(10);

/// A SQLite or Postgres database of one test, missing or empty at first.
pub enum BackupDatabase {
    Sqlite(TempDir),
    Postgres(Box<PostgresDatabase>),
}

impl BackupDatabase {
    pub fn sqlite() -> BackupDatabase {
        BackupDatabase::Sqlite(tempfile::tempdir().expect("a directory"))
    }

    pub async fn postgres() -> BackupDatabase {
        BackupDatabase::Postgres(Box::new(PostgresDatabase::create_empty().await))
    }

    pub fn url(&self) -> String {
        match self {
            BackupDatabase::Sqlite(directory) => format!(
                "sqlite://{}",
                directory.path().join("raidhall.db").display()
            ),
            BackupDatabase::Postgres(database) => database.url(),
        }
    }

    /// Opens the database and migrates its schema.
    pub async fn store(&self) -> Box<dyn Store> {
        match self {
            BackupDatabase::Sqlite(_) => {
                let store = SqliteStore::open(&self.url(), 2).await.expect("open");
                store.migrate(PATIENCE).await.expect("migrate");
                Box::new(store)
            }
            BackupDatabase::Postgres(_) => {
                let store = self.postgres_store().await;
                store.migrate(Duration::ZERO).await.expect("migrate");
                Box::new(store)
            }
        }
    }

    pub async fn postgres_store(&self) -> PostgresStore {
        let options = PostgresOptions {
            url: self.url(),
            connections_max: 4,
            statement_timeout: PATIENCE,
            connect_timeout: PATIENCE,
            is_exclusive: false,
        };
        PostgresStore::connect(options).await.expect("connect")
    }

    pub async fn source(&self) -> Box<dyn BackupSource> {
        match self {
            BackupDatabase::Sqlite(_) => {
                Box::new(SqliteSource::open(&self.url()).await.expect("a source"))
            }
            BackupDatabase::Postgres(_) => Box::new(
                self.postgres_store()
                    .await
                    .open_backup_source()
                    .await
                    .expect("a source"),
            ),
        }
    }

    /// Exports the whole database to a file.
    pub async fn export(&self) -> (Vec<u8>, ExportCounts) {
        export_to_file(self.source().await.as_mut()).await
    }

    pub async fn import(&self, file: &[u8]) -> Result<ImportReport, BackupError> {
        self.import_as(file, false).await
    }

    pub async fn import_as(
        &self,
        file: &[u8],
        keep_lineage: bool,
    ) -> Result<ImportReport, BackupError> {
        // A store that was dropped releases the database a little later.
        let target = self.open_target(PATIENCE).await?;
        backup::import(file, target, keep_lineage).await
    }

    pub async fn open_target(
        &self,
        patience: Duration,
    ) -> Result<Box<dyn BackupTarget>, OpenTargetError> {
        Ok(match self {
            BackupDatabase::Sqlite(_) => Box::new(SqliteTarget::open(&self.url(), patience).await?),
            BackupDatabase::Postgres(_) => Box::new(
                self.postgres_store()
                    .await
                    .open_backup_target(patience)
                    .await?,
            ),
        })
    }
}

/// Exports a whole source to a file.
pub async fn export_to_file(source: &mut dyn BackupSource) -> (Vec<u8>, ExportCounts) {
    let mut file = Vec::new();
    let options = Options {
        sign_ins: true,
        now: 1_767_225_600_000,
    };
    let exported = backup::export(source, &mut file, options)
        .await
        .expect("export");
    (file, exported)
}
