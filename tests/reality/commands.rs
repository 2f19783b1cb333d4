//! The commands beside `serve`: what they read, what they create, and what they say when they fail.

use std::process::Output;

use crate::process::TestDatabase;
use crate::with_timeout;

async fn run(database: &TestDatabase, words: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = database.command(words, settings);
    command.output().await.expect("it runs")
}

/// Asserts that a command fails with this exit code, and returns what it says.
async fn assert_fails(
    database: &TestDatabase,
    words: &[&str],
    settings: &[(&str, &str)],
    code: i32,
) -> String {
    let output = run(database, words, settings).await;
    assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{words:?}: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn serve_without_a_schema_says_to_migrate() {
    with_timeout(async {
        for database in [
            TestDatabase::sqlite().await,
            TestDatabase::empty_postgres().await,
        ] {
            let unmigrated = [("DATABASE__MIGRATE", "false")];
            let says = assert_fails(&database, &["serve"], &unmigrated, 69).await;
            assert!(says.contains("run `raidhall migrate`"), "{says}");
        }
    })
    .await;
}

#[tokio::test]
async fn commands_that_read_create_neither_database_nor_secret() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let no_secret = [("AUTH__SECRET", "")];
        let admin = ["token", "--scope", "admin"];
        let says = assert_fails(&database, &admin, &no_secret, 69).await;
        assert!(says.contains("where the server runs"), "{says}");
        for words in [
            &["token", "--player", "1"][..],
            &["export", "backup"],
            &["new-lineage"],
            &["rebuild", "players"],
        ] {
            let says = assert_fails(&database, words, &[], 69).await;
            assert!(says.contains("raidhall.db"), "{words:?}: {says}");
        }
        assert!(database.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_token_for_an_unknown_player_ends_with_64() {
    with_timeout(async {
        for database in [TestDatabase::sqlite().await, TestDatabase::postgres().await] {
            drop(database.migrated_store().await);
            let says = assert_fails(&database, &["token", "--player", "7"], &[], 64).await;
            assert!(says.contains("there is no player 7"), "{says}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_is_named_with_the_cause() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        std::fs::write(&file, "").expect("write");
        for (path, cause) in [
            (directory.path().to_owned(), "is a directory"),
            (file.join("raidhall.db"), "create the directory"),
        ] {
            let url = format!("sqlite://{}", path.display());
            let says = assert_fails(&database, &["migrate"], &[("DATABASE__URL", &url)], 69).await;
            assert!(
                says.contains(
                    path.parent()
                        .and_then(|path| path.to_str())
                        .expect("a path")
                ) && says.matches(cause).count() == 1,
                "{says}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn health_asks_the_server_at_the_configured_port() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let server = database.start().await;
        let address = server.target().address().to_string();
        let port = server.target().address().port().to_string();
        let listening = [("SERVER__LISTEN", &*address)];
        let healthy = run(&database, &["health"], &listening).await;
        assert!(healthy.status.success(), "{healthy:?}");

        // As in a container: the settings in a file that a variable names, and the platform's PORT.
        let settings = database.path().join("image.toml");
        std::fs::write(&settings, "[server]\nlisten = '0.0.0.0:1'").expect("write");
        let mut command = database.command(&["health"], &[]);
        command
            .env_remove("RAIDHALL__SERVER__LISTEN")
            .env("RAIDHALL_CONFIG", &settings)
            .env("PORT", &port);
        let healthy = command.output().await.expect("it runs");
        assert!(healthy.status.success(), "{healthy:?}");

        server.kill().await;
        let says = assert_fails(&database, &["health"], &listening, 69).await;
        assert!(says.contains(&address), "{says}");
        let unknown = [("SERVER__LISTEN", "127.0.0.1:0")];
        let says = assert_fails(&database, &["health"], &unknown, 69).await;
        assert!(says.contains("port 0"), "{says}");
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_private_and_no_planted_link_is_followed() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let folder = database.path();
        let victim = folder.join("victim");
        std::fs::write(&victim, "precious").expect("write");
        for name in ["backup", "backup.partial"] {
            symlink(&victim, folder.join(name)).expect("a link");
        }
        let server = database.start().await;
        let exported = run(&database, &["export", "backup"], &[]).await;
        assert!(exported.status.success(), "{exported:?}");
        assert_eq!(std::fs::read_to_string(&victim).expect("read"), "precious");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).expect("a directory") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("text");
            if name.starts_with("raidhall.db") || name == "backup" {
                let mode = entry.metadata().expect("metadata").permissions().mode();
                assert_eq!(mode & 0o7777, 0o600, "{name}");
                names.push(name);
            }
        }
        assert!(names.len() >= 4, "database, log, lock, backup: {names:?}");
        drop(server);
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn no_planted_link_to_nothing_is_followed() {
    with_timeout(async {
        for name in ["raidhall.db", "raidhall.db.lock"] {
            let database = TestDatabase::sqlite().await;
            let target = database.path().join("elsewhere");
            std::os::unix::fs::symlink(&target, database.path().join(name)).expect("a link");
            let says = assert_fails(&database, &["migrate"], &[], 69).await;
            assert!(says.contains(name), "{says}");
            assert!(!target.exists());
        }
    })
    .await;
}
