//! The commands that take a database as a whole: `export`, `import`, `new-lineage`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tracing::{info, warn};

use super::{StartError, open};
use crate::backup::{self, BackupError, Options};
use crate::config::{Config, DatabaseKind};
use crate::store::RegisterError;
use crate::store::backup::{BackupSource, BackupTarget, OpenTargetError};
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::{SqliteSource, SqliteStore, SqliteTarget};

/// Standard output, or input.
const STDIO_PATH: &str = "-";

/// Writes everything that the database keeps into a file, which appears under its name when it is whole.
///
/// # Errors
///
/// See [`StartError`]. Whatever was in the file before is still there.
pub async fn export(config: &Config, file: &Path, sign_ins: bool) -> Result<(), StartError> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("read the clock")?;
    let now = i64::try_from(now.as_millis()).context("read the clock")?;
    let mut source = open_source(config)
        .await
        .map_err(|error| backup_error(config, error))?;
    let options = Options { sign_ins, now };
    let exported = if file == Path::new(STDIO_PATH) {
        backup::export(source.as_mut(), io::stdout(), options).await
    } else {
        export_to_file(source.as_mut(), file, options).await
    };
    let done = exported.map_err(|error| backup_error(config, error))?;
    let backup::ExportCounts {
        players,
        raids,
        events,
        sign_ins,
        bans,
        audit_entries: deeds,
    } = done;
    info!(players, raids, events, sign_ins, bans, deeds, "exported");
    Ok(())
}

/// Fills an empty database from a file.
///
/// # Errors
///
/// See [`StartError`]. The database is as empty as before.
pub async fn import(config: &Config, file: &Path, keep_lineage: bool) -> Result<(), StartError> {
    let input: Box<dyn Read + Send> = if file == Path::new(STDIO_PATH) {
        Box::new(io::stdin())
    } else {
        let opened = File::open(file);
        Box::new(
            opened.map_err(|error| StartError::unavailable(file.display().to_string(), error))?,
        )
    };
    let target = open_target(config)
        .await
        .map_err(|error| backup_error(config, error))?;
    let imported = backup::import(input, target, keep_lineage).await;
    let imported = imported.map_err(|error| backup_error(config, error))?;
    if imported.snapshots_left_out > 0 {
        let count = imported.snapshots_left_out;
        warn!(
            count,
            "snapshots are not what the ledger amounts to and were left out; nothing is lost"
        );
    }
    let backup::format::FooterLine {
        players,
        raids,
        events,
        sign_ins,
        ..
    } = imported.footer;
    info!(
        players,
        raids,
        events,
        sign_ins,
        made_at = imported.header.made_at,
        "imported"
    );
    Ok(())
}

/// Names the database's history anew, and gives the name.
///
/// # Errors
///
/// See [`StartError`]; [`StartError::AlreadyRunning`] while somebody serves it.
pub async fn new_lineage(config: &Config, force: bool) -> Result<String, StartError> {
    let what = || format!("the database {}", config.database.url);
    let renamed = match config.database.url.kind() {
        DatabaseKind::Sqlite => {
            let store = SqliteStore::open(config.database.url.expose(), 1).await;
            let store = store.map_err(|error| StartError::from_store(what(), error))?;
            store.rename_lineage(open::register_timeout(config)).await
        }
        DatabaseKind::Postgres => {
            let store = open::postgres(config)
                .await
                .map_err(|error| StartError::from_store(what(), error))?;
            match store.rename_lineage(force).await {
                Ok(renamed) => renamed.ok_or(RegisterError::InUse),
                Err(error) => Err(error.into()),
            }
        }
    };
    renamed.map_err(|error| open::register_error(what(), error))
}

async fn open_source(config: &Config) -> Result<Box<dyn BackupSource>, BackupError> {
    Ok(match config.database.url.kind() {
        DatabaseKind::Sqlite => Box::new(SqliteSource::open(config.database.url.expose()).await?),
        DatabaseKind::Postgres => {
            Box::new(open::postgres(config).await?.open_backup_source().await?)
        }
    })
}

async fn open_target(config: &Config) -> Result<Box<dyn BackupTarget>, BackupError> {
    let patience = open::register_timeout(config);
    Ok(match config.database.url.kind() {
        DatabaseKind::Sqlite => {
            Box::new(SqliteTarget::open(config.database.url.expose(), patience).await?)
        }
        DatabaseKind::Postgres => Box::new(
            PostgresStore::open_backup_target(&open::postgres(config).await?, patience).await?,
        ),
    })
}

/// Under another name first, so that a file of this name is always a whole one.
async fn export_to_file(
    source: &mut dyn BackupSource,
    file: &Path,
    options: Options,
) -> Result<backup::ExportCounts, BackupError> {
    let unwritable = |source| BackupError::Io {
        operation: "write",
        source,
    };
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let out = create_private_file(&partial).map_err(unwritable)?;
    let exported = backup::export(source, io::BufWriter::new(&out), options).await;
    let kept = exported.and_then(|exported| {
        out.sync_all()
            .and_then(|()| fs::rename(&partial, file))
            .map_err(unwritable)?;
        Ok(exported)
    });
    if kept.is_err() {
        // What is left of it is of no use; the error that is told is the one that matters.
        let _ = fs::remove_file(&partial);
    }
    kept
}

/// A file that only its owner may read.
fn create_private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn backup_error(config: &Config, error: BackupError) -> StartError {
    let what = || format!("the database {}", config.database.url);
    match error {
        BackupError::Store(error) | BackupError::Target(OpenTargetError::Store(error)) => {
            StartError::from_store(what(), error)
        }
        BackupError::Target(OpenTargetError::InUse) => StartError::AlreadyRunning(what()),
        BackupError::Io { operation, source } => {
            StartError::unavailable(format!("the backup to {operation}"), source)
        }
        error @ (BackupError::Target(OpenTargetError::NotEmpty(_))
        | BackupError::Damaged(_)
        | BackupError::Invalid { .. }) => StartError::Backup(error),
    }
}
