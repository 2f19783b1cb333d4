//! The commands as a shell runs them, and an import that is killed half-way.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::backup_database::BackupDatabase;
use crate::raid_generator::fill_store;

fn raidhall(database: &BackupDatabase, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raidhall"));
    command.env_clear().args(arguments).kill_on_drop(true);
    command.env("RAIDHALL__DATABASE__URL", database.url());
    command.env(
        "RAIDHALL__AUTH__SECRET",
        "a secret for tests, of thirty-two bytes and more",
    );
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

async fn assert_killed_import_leaves_nothing(database: BackupDatabase) {
    let origin = BackupDatabase::sqlite();
    fill_store(origin.store().await.as_ref(), 60, 120, 10).await;
    let (file, counted) = origin.export().await;
    let mut import = raidhall(&database, &["import", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("start");
    let mut input = import.stdin.take().expect("its input");
    // The file is larger than the program's buffers: when all of it has been read, most of it has
    // been written to the database.
    input
        .write_all(&file[..file.len() - 20_000])
        .await
        .expect("write");
    input.flush().await.expect("flush");
    import.kill().await.expect("kill");
    let (_, left) = database.export().await;
    assert_eq!((left.players, left.raids, left.events), (0, 0, 0));

    let backup = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(backup.path(), &file).expect("write");
    let again = raidhall(
        &database,
        &["import", backup.path().to_str().expect("a path")],
    )
    .output()
    .await;
    let again = again.expect("it runs");
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    let (_, whole) = database.export().await;
    assert_eq!(whole, counted);
}

#[tokio::test]
async fn a_killed_import_into_sqlite_leaves_no_data() {
    let database = BackupDatabase::sqlite();
    drop(database.store().await);
    assert_killed_import_leaves_nothing(database).await;
}

#[tokio::test]
async fn a_killed_import_into_postgres_leaves_no_data() {
    let database = BackupDatabase::postgres().await;
    drop(database.store().await);
    assert_killed_import_leaves_nothing(database).await;
}

#[tokio::test]
async fn a_damaged_backup_exits_with_65_and_a_missing_database_with_69() {
    let origin = BackupDatabase::sqlite();
    fill_store(origin.store().await.as_ref(), 2, 10, 11).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path");
    let exported = raidhall(&origin, &["export", path])
        .output()
        .await
        .expect("it runs");
    assert_eq!(exported.status.code(), Some(0), "{exported:?}");
    let bytes = std::fs::read(path).expect("the file");
    std::fs::write(path, &bytes[..bytes.len() / 2]).expect("write");
    let refused = raidhall(&BackupDatabase::sqlite(), &["import", path])
        .output()
        .await
        .expect("it runs");
    assert_eq!(refused.status.code(), Some(65), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("it is not whole"),
        "{refused:?}"
    );
    let nowhere = raidhall(&BackupDatabase::sqlite(), &["export", path])
        .output()
        .await
        .expect("it runs");
    assert_eq!(nowhere.status.code(), Some(69), "{nowhere:?}");
    assert_eq!(
        std::fs::read(path).expect("the file").len(),
        bytes.len() / 2,
        "it was not touched"
    );
}

#[tokio::test]
async fn an_export_to_standard_output_writes_only_the_backup_file() {
    let origin = BackupDatabase::sqlite();
    fill_store(origin.store().await.as_ref(), 2, 10, 12).await;
    let piped = raidhall(&origin, &["export", "-"])
        .output()
        .await
        .expect("it runs");
    assert_eq!(piped.status.code(), Some(0), "{piped:?}");
    let database = BackupDatabase::sqlite();
    database.import(&piped.stdout).await.expect("import");
    assert_eq!(database.export().await.1, origin.export().await.1);
}

#[cfg(unix)]
#[tokio::test]
async fn a_backup_file_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let origin = BackupDatabase::sqlite();
    let directory = tempfile::tempdir().expect("a directory");
    drop(origin.store().await);
    let file = directory.path().join("raids.backup");
    let done = raidhall(&origin, &["export", file.to_str().expect("a path")])
        .output()
        .await
        .expect("it runs");
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(
        file.metadata().expect("the file").permissions().mode() & 0o777,
        0o600
    );
    let left: Vec<_> = std::fs::read_dir(&directory)
        .expect("the directory")
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

/// A running server is not disturbed by an export, and prevents an import.
#[tokio::test]
async fn a_running_server_allows_an_export_but_no_import() {
    for database in [BackupDatabase::sqlite(), BackupDatabase::postgres().await] {
        let mut serve = raidhall(&database, &["serve"]);
        serve
            .env("RAIDHALL__SERVER__LISTEN", "127.0.0.1:0")
            .env("RAIDHALL__TELEMETRY__METRICS_LISTEN", "");
        let mut server = serve.stderr(Stdio::null()).spawn().expect("start");
        let mut lines = BufReader::new(server.stdout.take().expect("its output")).lines();
        let says = tokio::time::timeout(Duration::from_secs(30), lines.next_line())
            .await
            .expect("in time");
        assert!(
            says.expect("output")
                .is_some_and(|line| line.contains("open at"))
        );
        let exported = raidhall(&database, &["export", "-"])
            .output()
            .await
            .expect("it runs");
        assert_eq!(exported.status.code(), Some(0), "{exported:?}");
        let mut import = raidhall(&database, &["import", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("start");
        drop(import.stdin.take());
        let refused = import.wait_with_output().await.expect("it runs");
        assert_eq!(refused.status.code(), Some(75), "{refused:?}");
        let renamed = raidhall(&database, &["new-lineage"])
            .output()
            .await
            .expect("it runs");
        assert_eq!(renamed.status.code(), Some(75), "{renamed:?}");
        server.kill().await.expect("kill");
    }
}
