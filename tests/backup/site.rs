//! Databases to export from and import into.

use std::time::Duration;

use raidhall::backup::{
    self, BackupError, BackupSource, BackupTarget, ExportCounts, ImportReport, Options,
};
use raidhall::store::Store;
use raidhall::store::postgres::{PostgresOptions, PostgresStore};
use raidhall::store::sqlite::{SqliteSource, SqliteStore, SqliteTarget};
use tempfile::TempDir;

use crate::database::Database;

const PATIENCE: Duration = Duration::from_secs(10);

/// A place for a database that is not there yet, or is empty.
pub enum Site {
    Sqlite(TempDir),
    Postgres(Box<Database>),
}

impl Site {
    pub fn sqlite() -> Site {
        Site::Sqlite(tempfile::tempdir().expect("a directory"))
    }

    pub async fn postgres() -> Site {
        Site::Postgres(Box::new(Database::create().await))
    }

    pub fn url(&self) -> String {
        match self {
            Site::Sqlite(directory) => format!(
                "sqlite://{}",
                directory.path().join("raidhall.db").display()
            ),
            Site::Postgres(database) => database.url(),
        }
    }

    /// The database with its schema.
    pub async fn store(&self) -> Box<dyn Store> {
        match self {
            Site::Sqlite(_) => {
                let store = SqliteStore::open(&self.url(), 2).await.expect("open");
                store.migrate(PATIENCE).await.expect("migrate");
                Box::new(store)
            }
            Site::Postgres(_) => {
                let store = self.connected().await;
                store.migrate().await.expect("migrate");
                Box::new(store)
            }
        }
    }

    pub async fn connected(&self) -> PostgresStore {
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
            Site::Sqlite(_) => Box::new(SqliteSource::open(&self.url()).await.expect("a source")),
            Site::Postgres(_) => Box::new(
                self.connected()
                    .await
                    .open_backup_source()
                    .await
                    .expect("a source"),
            ),
        }
    }

    /// Everything, as a file.
    pub async fn export(&self) -> (Vec<u8>, ExportCounts) {
        exported(self.source().await.as_mut()).await
    }

    pub async fn import(&self, file: &[u8]) -> Result<ImportReport, BackupError> {
        self.import_as(file, false).await
    }

    pub async fn import_as(
        &self,
        file: &[u8],
        keep_lineage: bool,
    ) -> Result<ImportReport, BackupError> {
        let patience = Duration::ZERO;
        let target: Box<dyn BackupTarget> = match self {
            Site::Sqlite(_) => Box::new(SqliteTarget::open(&self.url(), patience).await?),
            Site::Postgres(_) => {
                Box::new(self.connected().await.open_backup_target(patience).await?)
            }
        };
        backup::import(file, target, keep_lineage).await
    }
}

/// Everything that a source has, as a file.
pub async fn exported(source: &mut dyn BackupSource) -> (Vec<u8>, ExportCounts) {
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
