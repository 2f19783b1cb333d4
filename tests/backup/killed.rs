//! The commands as a shell sees them, and an import that is killed half-way.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::play::fill;
use crate::site::Site;

fn raidhall(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raidhall"));
    command.env_clear().args(arguments).kill_on_drop(true);
    command.env("RAIDHALL__DATABASE__URL", site.url());
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

async fn a_killed_import_leaves_nothing(site: Site) {
    let origin = Site::sqlite();
    fill(origin.store().await.as_ref(), 60, 120, 10).await;
    let (file, counted) = origin.export().await;
    let mut import = raidhall(&site, &["import", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("start");
    let mut input = import.stdin.take().expect("its input");
    // More than it buffers: when all of it has been taken, most of it has been written to the database.
    input
        .write_all(&file[..file.len() - 20_000])
        .await
        .expect("write");
    input.flush().await.expect("flush");
    import.kill().await.expect("kill");
    let (_, left) = site.export().await;
    assert_eq!((left.players, left.raids, left.events), (0, 0, 0));

    let backup = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(backup.path(), &file).expect("write");
    let again = raidhall(&site, &["import", backup.path().to_str().expect("a path")])
        .output()
        .await;
    let again = again.expect("it runs");
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    let (_, whole) = site.export().await;
    assert_eq!(whole, counted);
}

#[tokio::test]
async fn a_killed_import_into_sqlite_leaves_nothing() {
    let site = Site::sqlite();
    drop(site.store().await);
    a_killed_import_leaves_nothing(site).await;
}

#[tokio::test]
async fn a_killed_import_into_postgres_leaves_nothing() {
    let site = Site::postgres().await;
    drop(site.store().await);
    a_killed_import_leaves_nothing(site).await;
}

#[tokio::test]
async fn a_damaged_or_truncated_file_ends_with_65_and_one_with_no_database_with_69() {
    let origin = Site::sqlite();
    fill(origin.store().await.as_ref(), 2, 10, 11).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path");
    let exported = raidhall(&origin, &["export", path])
        .output()
        .await
        .expect("it runs");
    assert_eq!(exported.status.code(), Some(0), "{exported:?}");
    let bytes = std::fs::read(path).expect("the file");
    std::fs::write(path, &bytes[..bytes.len() / 2]).expect("write");
    let refused = raidhall(&Site::sqlite(), &["import", path])
        .output()
        .await
        .expect("it runs");
    assert_eq!(refused.status.code(), Some(65), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("it is not whole"),
        "{refused:?}"
    );
    let nowhere = raidhall(&Site::sqlite(), &["export", path])
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
async fn an_export_to_standard_output_is_the_same_file_and_says_nothing_else_there() {
    let origin = Site::sqlite();
    fill(origin.store().await.as_ref(), 2, 10, 12).await;
    let piped = raidhall(&origin, &["export", "-"])
        .output()
        .await
        .expect("it runs");
    assert_eq!(piped.status.code(), Some(0), "{piped:?}");
    let site = Site::sqlite();
    site.import(&piped.stdout).await.expect("import");
    assert_eq!(site.export().await.1, origin.export().await.1);
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_may_read_a_backup() {
    use std::os::unix::fs::PermissionsExt;
    let (origin, directory) = (Site::sqlite(), tempfile::tempdir().expect("a directory"));
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

/// A server serves while it is exported; an import meanwhile is refused.
#[tokio::test]
async fn a_server_may_run_while_it_is_exported_and_not_while_it_is_imported_into() {
    for site in [Site::sqlite(), Site::postgres().await] {
        let mut serve = raidhall(&site, &["serve"]);
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
        let exported = raidhall(&site, &["export", "-"])
            .output()
            .await
            .expect("it runs");
        assert_eq!(exported.status.code(), Some(0), "{exported:?}");
        let mut import = raidhall(&site, &["import", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("start");
        drop(import.stdin.take());
        let refused = import.wait_with_output().await.expect("it runs");
        assert_eq!(refused.status.code(), Some(75), "{refused:?}");
        let renamed = raidhall(&site, &["new-lineage"])
            .output()
            .await
            .expect("it runs");
        assert_eq!(renamed.status.code(), Some(75), "{renamed:?}");
        server.kill().await.expect("kill");
    }
}
