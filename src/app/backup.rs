//! The commands that act on a whole database: `export`, `import` and `new-lineage`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use tracing::{info, warn};

use super::{StartError, machine_time, open};
use crate::backup::{self, BackupError, Options};
use crate::config::{Config, DatabaseKind};
use crate::private_file;
use crate::store::RegisterError;
use crate::store::backup::{BackupSource, BackupTarget, OpenTargetError};
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::{SqliteSource, SqliteStore, SqliteTarget};
use crate::telemetry::{Progress, WithProgress};

/// The file name that means standard output or standard input.
const STDIO_PATH: &str = "-";

/// Writes the contents of the database to a file. The file appears under its name only once it is
/// complete.
///
/// # Errors
///
/// See [`StartError`]. On failure an existing file is left as it was.
pub async fn export(config: &Config, file: &Path, sign_ins: bool) -> Result<(), StartError> {
    let now = machine_time()?.0;
    let mut source = open_source(config)
        .await
        .map_err(|error| backup_error(config, error))?;
    let options = Options { sign_ins, now };
    let exported = if file == Path::new(STDIO_PATH) {
        export_with_progress(source.as_mut(), io::stdout(), options).await
    } else {
        export_to_file(source.as_mut(), file, options).await
    };
    let done = exported.map_err(|error| backup_error(config, error))?;
    let backup::ExportCounts {
        definitions,
        players,
        streams,
        player_events,
        board_scores,
        raids,
        events,
        sign_ins,
        bans,
        audit_entries,
    } = done;
    info!(
        definitions,
        players,
        streams,
        player_events,
        board_scores,
        raids,
        events,
        sign_ins,
        bans,
        audit_entries,
        "exported"
    );
    Ok(())
}

/// Fills an empty database from a file that [`export`] wrote.
///
/// # Errors
///
/// See [`StartError`]. On failure the database is as empty as before.
pub async fn import(config: &Config, file: &Path, keep_lineage: bool) -> Result<(), StartError> {
    let (input, size) = open_input(file)
        .map_err(|error| StartError::unavailable(file.display().to_string(), error))?;
    let progress = Progress::new("reading bytes of the backup", size);
    let input = WithProgress::new(input, progress);
    let target = open_target(config)
        .await
        .map_err(|error| backup_error(config, error))?;
    let imported = backup::import(input, target, keep_lineage).await;
    let imported = imported.map_err(|error| backup_error(config, error))?;
    if imported.snapshots_left_out > 0 {
        let count = imported.snapshots_left_out;
        warn!(
            count,
            "snapshots in the backup do not match the ledger and were left out; no data is lost"
        );
    }
    let backup::format::FooterLine {
        definitions,
        players,
        streams,
        player_events,
        board_scores,
        raids,
        events,
        sign_ins,
        ..
    } = imported.footer;
    info!(
        definitions,
        players,
        streams,
        player_events,
        board_scores,
        raids,
        events,
        sign_ins,
        made_at = imported.header.made_at,
        "imported"
    );
    Ok(())
}

/// Opens the file of an import. Also returns its size, if it is a regular file.
fn open_input(file: &Path) -> io::Result<(Box<dyn Read + Send>, Option<u64>)> {
    if file == Path::new(STDIO_PATH) {
        return Ok((Box::new(io::stdin()), None));
    }
    let opened = File::open(file)?;
    let size = opened.metadata()?;
    let size = size.is_file().then_some(size.len());
    Ok((Box::new(opened), size))
}

/// Gives the database's history a new lineage id and returns it.
///
/// # Errors
///
/// See [`StartError`]; [`StartError::AlreadyRunning`] while an instance serves the database, unless
/// it is Postgres and `force` is set.
pub async fn new_lineage(config: &Config, force: bool) -> Result<String, StartError> {
    let renamed = match config.database.url.kind() {
        DatabaseKind::Sqlite => {
            let store = SqliteStore::open_existing(config.database.url.expose(), 1).await;
            let store =
                store.map_err(|error| StartError::from_store(open::database(config), error))?;
            store.rename_lineage(open::register_timeout(config)).await
        }
        DatabaseKind::Postgres => {
            let store = open::postgres(config)
                .await
                .map_err(|error| StartError::from_store(open::database(config), error))?;
            match store.rename_lineage(force).await {
                Ok(renamed) => renamed.ok_or(RegisterError::InUse),
                Err(error) => Err(error.into()),
            }
        }
    };
    renamed.map_err(|error| open::register_error(open::database(config), error))
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
    let timeout = open::register_timeout(config);
    Ok(match config.database.url.kind() {
        DatabaseKind::Sqlite => {
            Box::new(SqliteTarget::open(config.database.url.expose(), timeout).await?)
        }
        DatabaseKind::Postgres => Box::new(
            PostgresStore::open_backup_target(&open::postgres(config).await?, timeout).await?,
        ),
    })
}

/// Writes the backup under a temporary name and renames it at the end, so that a file of the given
/// name is always complete.
async fn export_to_file(
    source: &mut dyn BackupSource,
    file: &Path,
    options: Options,
) -> Result<backup::ExportCounts, BackupError> {
    let unwritable = |source| BackupError::Io {
        operation: "write",
        source,
    };
    let (partial, out) = private_file::create_beside(file).map_err(unwritable)?;
    let exported = export_with_progress(source, io::BufWriter::new(&out), options).await;
    let kept = exported.and_then(|exported| {
        out.sync_all()
            .and_then(|()| fs::rename(&partial, file))
            .map_err(unwritable)?;
        Ok(exported)
    });
    if kept.is_err() {
        // The partial file is useless, and a failure to remove it matters less than the error that
        // is returned.
        let _ = fs::remove_file(&partial);
    }
    kept
}

async fn export_with_progress(
    source: &mut dyn BackupSource,
    out: impl Write + Send,
    options: Options,
) -> Result<backup::ExportCounts, BackupError> {
    let progress = Progress::new("writing bytes of the backup", None);
    backup::export(source, WithProgress::new(out, progress), options).await
}

fn backup_error(config: &Config, error: BackupError) -> StartError {
    match error {
        BackupError::Store(error) | BackupError::Target(OpenTargetError::Store(error)) => {
            StartError::from_store(open::database(config), error)
        }
        BackupError::Target(OpenTargetError::InUse) => {
            StartError::AlreadyRunning(open::database(config))
        }
        BackupError::Io { operation, source } => {
            StartError::unavailable(format!("the backup to {operation}"), source)
        }
        error @ (BackupError::Target(OpenTargetError::NotEmpty(_))
        | BackupError::Damaged(_)
        | BackupError::Invalid { .. }) => StartError::Backup(error),
    }
}
