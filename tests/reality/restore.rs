//! A database that was lost and is restored from a backup: clients that had seen more come back to another history, and
//! none of them is told a story with a hole.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use raidhall_loadtest::client::Rest;
use raidhall_protocol::{ClientMessage, Codec, Command, RaidId, Seq, ServerMessage};

use crate::bounded;
use crate::party::{Party, long_raid};
use crate::process::{Server, Site};
use crate::wire::Wire;

/// How long a command or the end of a server may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client remembers of the history that is lost.
struct Memory {
    token: String,
    lineage: String,
    raid: RaidId,
    newest: Seq,
}

/// Runs a command on a site's database: its exit code and its output.
async fn run(site: &Site, arguments: &[&str]) -> (i32, String) {
    let output = tokio::time::timeout(PATIENCE, site.command(arguments, &[]).output()).await;
    let output = output.expect("it ends").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (
        output.status.code().unwrap_or_else(|| panic!("{output:?}")),
        said,
    )
}

async fn greeted(server: &Server, token: &str) -> (Wire, String) {
    let mut wire = Wire::connect(server.target(), Codec::Json).await;
    wire.send(ClientMessage::Hello {
        token: token.to_owned(),
        client: None,
    })
    .await;
    let lineage = wire.seek(|message| match message {
        ServerMessage::Welcome { lineage, .. } => Some(lineage.clone()),
        _ => None,
    });
    let lineage = lineage.await;
    (wire, lineage)
}

/// Plays on after the moment that `back_up` keeps, and loses it.
async fn lost<F: Future<Output = ()>>(site: &Site, back_up: impl FnOnce() -> F) -> Memory {
    let server = site.start().await;
    let party = Party::gather(server.target(), 2, &long_raid(2)).await;
    let (raid, token) = (party.raid, party.witness().await.access_token);
    let (mut wire, lineage) = greeted(&server, &token).await;
    wire.watch(raid, None).await;
    for word in ["one", "two", "three"] {
        wire.act(raid, Some(word), Command::Say { text: word.into() })
            .await
            .expect("said");
    }
    back_up().await;
    let mut newest = Seq::ZERO;
    for word in ["four", "five", "six"] {
        let said = wire
            .act(raid, Some(word), Command::Say { text: word.into() })
            .await;
        newest = said.expect("said").0;
    }
    server.kill().await;
    Memory {
        token,
        lineage,
        raid,
        newest,
    }
}

/// The client finds another lineage, gets a snapshot whatever it claims to have, and its op has not taken effect here.
async fn another_history(server: &Server, memory: &Memory) -> String {
    let (mut wire, lineage) = greeted(server, &memory.token).await;
    assert_ne!(lineage, memory.lineage);
    let (seq, recovered) = wire.watch(memory.raid, Some(memory.newest)).await;
    assert!(
        !recovered && seq < memory.newest,
        "{seq} of {}, recovered: {recovered}",
        memory.newest
    );
    let again = Command::Say { text: "six".into() };
    let (after, duplicate) = wire
        .act(memory.raid, Some("six"), again.clone())
        .await
        .expect("said");
    assert!(!duplicate && after == seq.next(), "{after} after {seq}");
    assert_eq!(
        wire.seqs(),
        [after.0],
        "live goes on where the snapshot ends"
    );
    let kept = wire
        .act(memory.raid, Some("three"), again)
        .await
        .expect("an answer");
    assert!(kept.1, "what was backed up has its ops: {kept:?}");
    lineage
}

async fn from_an_export(site: Site, fresh: Site) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("raids.backup");
    let file = file.to_str().expect("a path");
    let memory = lost(&site, || async {
        assert_eq!(run(&site, &["export", file]).await.0, 0)
    })
    .await;
    assert_eq!(run(&fresh, &["import", file]).await.0, 0);
    let server = fresh.start().await;
    another_history(&server, &memory).await;
    let rest = Rest::over((*server.target()).into())
        .expect("a door")
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
async fn clients_of_a_lost_sqlite_find_another_history_in_what_was_exported() {
    bounded(async { from_an_export(Site::sqlite().await, Site::sqlite().await).await }).await;
}

#[tokio::test]
async fn clients_of_a_lost_postgres_find_another_history_in_what_was_exported() {
    bounded(async { from_an_export(Site::postgres().await, Site::postgres().await).await }).await;
}

#[tokio::test]
async fn clients_of_a_lost_sqlite_find_what_was_exported_in_postgres() {
    bounded(async { from_an_export(Site::sqlite().await, Site::postgres().await).await }).await;
}

fn postgres_tool(name: &str) -> PathBuf {
    let directory = std::env::var("RAIDHALL_TEST_PG_BIN").expect("run scripts/with-services");
    Path::new(&directory).join(name)
}

/// The site's URL without what only our driver knows.
fn plain(site: &Site) -> String {
    let mut url = reqwest::Url::parse(&site.url()).expect("a database url");
    url.set_query(None);
    url.into()
}

async fn tool(name: &str, arguments: &[&str]) {
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
async fn a_dump_that_is_restored_needs_a_new_lineage_and_says_so_to_clients() {
    bounded(async {
        let (site, fresh) = (Site::postgres().await, Site::postgres().await);
        let directory = tempfile::tempdir().expect("a directory");
        let dump = directory.path().join("dump");
        let dump = dump.to_str().expect("a path");
        let url = plain(&site);
        let arguments = ["--format=custom", "--file", dump, &url];
        let back_up = || tool("pg_dump", &arguments);
        let memory = lost(&site, back_up).await;
        let into = format!("--dbname={}", plain(&fresh));
        tool("pg_restore", &[&into, dump]).await;
        // The dump holds the lease of the instance that made it run; it runs out by itself.
        let (code, named) = loop {
            match run(&fresh, &["new-lineage"]).await {
                (75, _) => tokio::time::sleep(Duration::from_millis(100)).await,
                done => break done,
            }
        };
        assert_eq!(code, 0);
        let server = fresh.start().await;
        assert_eq!(another_history(&server, &memory).await, named.trim());
    })
    .await;
}

#[tokio::test]
async fn a_server_that_runs_refuses_a_new_lineage_and_ends_when_it_is_forced() {
    bounded(async {
        let site = Site::postgres().await;
        let mut server = site.start().await;
        let party = Party::gather(server.target(), 1, &long_raid(1)).await;
        let token = party.witness().await.access_token;
        let (mut wire, lineage) = greeted(&server, &token).await;
        assert_eq!(run(&site, &["new-lineage"]).await, (75, String::new()));
        let (code, named) = run(&site, &["new-lineage", "--force"]).await;
        assert_eq!(code, 0);
        assert_eq!(wire.end().await.code, Some(4200));
        assert_eq!(server.exit_code(PATIENCE).await, Some(69));
        let server = site.start().await;
        let (_, now) = greeted(&server, &token).await;
        assert!(
            now == named.trim() && now != lineage,
            "{now} {named} {lineage}"
        );
    })
    .await;
}
