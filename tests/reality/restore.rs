//! A lost database is restored from a backup: clients that had seen more find another history, and
//! none of them is shown a history with a hole.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use raidhall_loadtest::client::RestClient;
use raidhall_protocol::{ClientMessage, Codec, Command, RaidId, Seq, ServerMessage};

use crate::process::{TestDatabase, TestServer};
use crate::raid_group::{RaidGroup, long_raid};
use crate::test_socket::TestSocket;
use crate::with_timeout;

/// How long a command or a server's exit may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client remembers of the lost history.
struct LostHistory {
    token: String,
    lineage: String,
    raid: RaidId,
    newest: Seq,
}

/// Runs a command of the server binary on a database. Returns its exit code and its output.
async fn run_command(database: &TestDatabase, arguments: &[&str]) -> (i32, String) {
    let output = tokio::time::timeout(PATIENCE, database.command(arguments, &[]).output()).await;
    let output = output.expect("it ends").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (
        output.status.code().unwrap_or_else(|| panic!("{output:?}")),
        said,
    )
}

async fn open_socket(server: &TestServer, token: &str) -> (TestSocket, String) {
    let mut socket = TestSocket::connect(server.target(), Codec::Json).await;
    socket
        .send(ClientMessage::Hello {
            token: token.to_owned(),
            client: None,
        })
        .await;
    let lineage = socket.wait_for(|message| match message {
        ServerMessage::Welcome { lineage, .. } => Some(lineage.clone()),
        _ => None,
    });
    let lineage = lineage.await;
    (socket, lineage)
}

/// Plays, runs `back_up`, plays on and kills the server; what follows the backup is lost in a
/// restore.
async fn play_and_lose<F: Future<Output = ()>>(
    database: &TestDatabase,
    back_up: impl FnOnce() -> F,
) -> LostHistory {
    let server = database.start().await;
    let group = RaidGroup::create(server.target(), 2, &long_raid(2)).await;
    let raid = group.raid;
    let token = group.add_member().await.access_token;
    let (mut socket, lineage) = open_socket(&server, &token).await;
    socket.watch(raid, None).await;
    for word in ["one", "two", "three"] {
        socket
            .execute(raid, Some(word), Command::Say { text: word.into() })
            .await
            .expect("said");
    }
    back_up().await;
    let mut newest = Seq::ZERO;
    for word in ["four", "five", "six"] {
        let said = socket
            .execute(raid, Some(word), Command::Say { text: word.into() })
            .await;
        newest = said.expect("said").0;
    }
    server.kill().await;
    LostHistory {
        token,
        lineage,
        raid,
        newest,
    }
}

/// Asserts that the client finds another lineage, gets a snapshot whatever seq it claims to hold,
/// and that its lost op has had no effect here.
async fn assert_other_lineage(server: &TestServer, memory: &LostHistory) -> String {
    let (mut socket, lineage) = open_socket(server, &memory.token).await;
    assert_ne!(lineage, memory.lineage);
    let (seq, recovered) = socket.watch(memory.raid, Some(memory.newest)).await;
    assert!(
        !recovered && seq < memory.newest,
        "{seq} of {}, recovered: {recovered}",
        memory.newest
    );
    let again = Command::Say { text: "six".into() };
    let (after, duplicate) = socket
        .execute(memory.raid, Some("six"), again.clone())
        .await
        .expect("said");
    assert!(!duplicate && after == seq.next(), "{after} after {seq}");
    assert_eq!(
        socket.received_seqs(),
        [after.0],
        "live events continue where the snapshot ends"
    );
    let kept = socket
        .execute(memory.raid, Some("three"), again)
        .await
        .expect("an answer");
    assert!(kept.1, "the ops of backed-up events are known: {kept:?}");
    lineage
}

async fn assert_restored_from_export(database: TestDatabase, fresh: TestDatabase) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("raids.backup");
    let file = file.to_str().expect("a path");
    let memory = play_and_lose(&database, || async {
        assert_eq!(run_command(&database, &["export", file]).await.0, 0)
    })
    .await;
    assert_eq!(run_command(&fresh, &["import", file]).await.0, 0);
    let server = fresh.start().await;
    assert_other_lineage(&server, &memory).await;
    let rest = RestClient::with_targets((*server.target()).into())
        .expect("a REST client")
        .with_token(&memory.token);
    assert_eq!(
        rest.raid(memory.raid)
            .await
            .expect("the raid")
            .state
            .members
            .len(),
        3
    );
}

#[tokio::test]
async fn clients_see_a_new_lineage_after_an_import_into_sqlite() {
    with_timeout(async {
        assert_restored_from_export(TestDatabase::sqlite().await, TestDatabase::sqlite().await)
            .await
    })
    .await;
}

#[tokio::test]
async fn clients_see_a_new_lineage_after_an_import_into_postgres() {
    with_timeout(async {
        assert_restored_from_export(
            TestDatabase::postgres().await,
            TestDatabase::empty_postgres().await,
        )
        .await
    })
    .await;
}

#[tokio::test]
async fn clients_see_a_new_lineage_after_a_move_from_sqlite_to_postgres() {
    with_timeout(async {
        assert_restored_from_export(
            TestDatabase::sqlite().await,
            TestDatabase::empty_postgres().await,
        )
        .await
    })
    .await;
}

fn postgres_tool(name: &str) -> PathBuf {
    let directory = std::env::var("RAIDHALL_TEST_PG_BIN").expect("run scripts/with-services");
    Path::new(&directory).join(name)
}

/// Returns the database's URL without the parameters that only the server's driver knows.
fn url_without_query(database: &TestDatabase) -> String {
    let mut url = reqwest::Url::parse(&database.url()).expect("a database url");
    url.set_query(None);
    url.into()
}

async fn run_postgres_tool(name: &str, arguments: &[&str]) {
    let mut command = tokio::process::Command::new(postgres_tool(name));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    let status = command.status().await.expect("it runs");
    assert!(status.success(), "{name}: {status}");
}

#[tokio::test]
async fn a_restored_dump_needs_a_new_lineage_that_clients_see() {
    with_timeout(async {
        let database = TestDatabase::postgres().await;
        let fresh = TestDatabase::empty_postgres().await;
        let directory = tempfile::tempdir().expect("a directory");
        let dump = directory.path().join("dump");
        let dump = dump.to_str().expect("a path");
        let url = url_without_query(&database);
        let arguments = ["--format=custom", "--file", dump, &url];
        let back_up = || run_postgres_tool("pg_dump", &arguments);
        let memory = play_and_lose(&database, back_up).await;
        let into = format!("--dbname={}", url_without_query(&fresh));
        run_postgres_tool("pg_restore", &[&into, dump]).await;
        // The dump holds the lease of the instance that was running; it expires by itself.
        let (code, named) = loop {
            match run_command(&fresh, &["new-lineage"]).await {
                (75, _) => tokio::time::sleep(Duration::from_millis(100)).await,
                done => break done,
            }
        };
        assert_eq!(code, 0);
        let server = fresh.start().await;
        assert_eq!(assert_other_lineage(&server, &memory).await, named.trim());
    })
    .await;
}

#[tokio::test]
async fn a_running_server_refuses_a_new_lineage_unless_forced() {
    with_timeout(async {
        let database = TestDatabase::postgres().await;
        let mut server = database.start().await;
        let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
        let token = group.add_member().await.access_token;
        let (mut socket, lineage) = open_socket(&server, &token).await;
        assert_eq!(
            run_command(&database, &["new-lineage"]).await,
            (75, String::new())
        );
        let (code, named) = run_command(&database, &["new-lineage", "--force"]).await;
        assert_eq!(code, 0);
        assert_eq!(socket.wait_for_close().await.code, Some(4200));
        assert_eq!(server.exit_code(PATIENCE).await, Some(69));
        let server = database.start().await;
        let (_, now) = open_socket(&server, &token).await;
        assert!(
            now == named.trim() && now != lineage,
            "{now} {named} {lineage}"
        );
    })
    .await;
}
