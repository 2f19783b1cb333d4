//! Migrations of a database's schema, which both SQL stores apply alike.

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use tracing::info;

/// Applies the migrations that the database lacks, one process at a time. Those of a newer release
/// are left alone. Each is named in the log before it begins, unless the database is new: on a large
/// one it can take minutes.
pub(super) async fn apply_migrations<C: Migrate + Send>(
    migrations: &Migrator,
    connection: &mut C,
) -> Result<(), MigrateError> {
    let mut migrator = Migrator {
        migrations: migrations.migrations.clone(),
        ..Migrator::DEFAULT
    };
    migrator.set_ignore_missing(true);
    connection.lock().await?;
    connection
        .ensure_migrations_table(&migrator.table_name)
        .await?;
    let applied = connection
        .list_applied_migrations(&migrator.table_name)
        .await?;
    if !applied.is_empty() {
        let versions: Vec<_> = applied.iter().map(|it| it.version).collect();
        for pending in migrator.iter().filter(|it| !versions.contains(&it.version)) {
            info!(version = pending.version, name = %pending.description, "applying a migration");
            let version = Some(pending.version);
            migrator.run_direct(version, connection, false).await?;
        }
    }
    migrator.run_direct(None, connection, false).await?;
    connection.unlock().await
}
