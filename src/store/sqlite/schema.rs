//! The schema: its migrations, and which of them a database has.

use std::time::Duration;

use sqlx::SqliteExecutor;
use sqlx::migrate::Migrator;

use super::SqliteStore;
use super::fault::{failed, refused};
use super::statements::statements;
use super::writer::Lane;
use crate::store::migration::apply_migrations;
use crate::store::{RegisterError, Result};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

statements! {
    HAS_MIGRATIONS = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')";
    APPLIED_MIGRATIONS = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";
}

impl SqliteStore {
    /// Brings the schema up to this release. It takes the database's lock first, as
    /// [`Leases::register`](crate::store::Leases::register) does, and keeps it, so that a schema never
    /// changes under a running server. A newer schema is left alone, since migrations only add.
    pub async fn migrate(&self, patience: Duration) -> Result<(), RegisterError> {
        self.acquire_lock(patience).await?;
        let migrate = self.writer.run("migrate", Lane::General, |writer| {
            Box::pin(async {
                let migrated = apply_migrations(&MIGRATIONS, &mut writer.connection).await;
                migrated.map_err(|error| refused("migrate", error))
            })
        });
        Ok(migrate.await?)
    }

    /// Returns whether the database has every migration of this release.
    pub async fn has_current_schema(&self) -> Result<bool> {
        const OPERATION: &str = "read the schema's version";
        let exists = sqlx::query_scalar(HAS_MIGRATIONS).fetch_one(&self.readers);
        if !exists.await.map_err(failed(OPERATION))? {
            return Ok(false);
        }
        let applied = applied_migrations(&self.readers, OPERATION).await?;
        Ok(MIGRATIONS
            .iter()
            .all(|migration| applied.contains(&migration.version)))
    }
}

/// Returns the versions of the migrations that a database has.
pub(super) async fn applied_migrations(
    executor: impl SqliteExecutor<'_>,
    operation: &'static str,
) -> Result<Vec<i64>> {
    let applied = sqlx::query_scalar(APPLIED_MIGRATIONS).fetch_all(executor);
    applied.await.map_err(failed(operation))
}
