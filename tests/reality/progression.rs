//! The definitions of progression: `raidhall progression` beside real servers, and what a start does
//! with `progression.file`.

use std::process::Output;

use raidhall::definitions::{BUILT_IN, Definitions};
use raidhall::progression::DefinitionsNumber;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::{PlayerId, Seq};

use crate::process::TestDatabase;
use crate::raid_group::{RaidGroup, long_raid};
use crate::{wait_until, with_timeout};

const DAILY: u64 = 300;
const FILE: &str = "definitions.toml";
const FILE_SETTING: [(&str, &str); 1] = [("PROGRESSION__FILE", FILE)];

/// Writes the built-in definitions with another daily allowance to the file, and returns them.
fn write_definitions(database: &TestDatabase, casual_xp_per_day: u64) -> String {
    let line = |number| format!("casual_xp_per_day = {number}");
    let text = BUILT_IN.replace(&line(DAILY), &line(casual_xp_per_day));
    write_file(database, &text);
    text
}

fn write_file(database: &TestDatabase, text: &str) {
    std::fs::write(database.path().join(FILE), text).expect("write");
}

async fn run(database: &TestDatabase, words: &[&str], settings: &[(&str, &str)]) -> Output {
    let output = database.command(words, settings).output().await;
    output.expect("it runs")
}

/// Runs a command that succeeds, and returns what it prints.
async fn print(database: &TestDatabase, words: &[&str]) -> String {
    let output = run(database, words, &[]).await;
    assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

async fn assert_clean(database: &TestDatabase) {
    let summary = print(database, &["rebuild", "players", "--check"]).await;
    assert!(summary.contains(", differences: 0,"), "{summary}");
    assert!(!summary.contains("effects of raids: 0,"), "{summary}");
}

/// Returns whether an effect of the first player counts less because the allowance was lowered.
async fn has_lowered_effect(database: &TestDatabase, player: PlayerId) -> bool {
    let store = database.store().await;
    let events = store.stream_events(player, Seq::ZERO, 10_000).await;
    let is_lowered = |event: &PlayerEvent| match &event.data {
        PlayerEventData::XpEarned {
            amount,
            counted,
            allowance: Some(allowance),
            ..
        } => counted < amount && allowance.used < DAILY,
        _ => false,
    };
    events.expect("events").iter().any(is_lowered)
}

#[tokio::test]
async fn applied_definitions_count_for_what_happens_after_them() {
    with_timeout(async {
        for (database, restored) in [
            (TestDatabase::sqlite().await, TestDatabase::postgres().await),
            (TestDatabase::postgres().await, TestDatabase::sqlite().await),
        ] {
            let server = database.start().await;
            let group = RaidGroup::start(server.target(), 2, &long_raid(2)).await;
            let player = group.players[0].player_ref().id;
            let game = group.start_playing();
            game.wait_for_events(20).await;
            assert_eq!(print(&database, &["progression", "show"]).await, BUILT_IN);
            let lowered = write_definitions(&database, 1);
            let apply = ["progression", "apply", FILE];
            let says = print(&database, &apply).await;
            assert!(says.contains("from now on, as number 2."), "{says}");
            let says = print(&database, &apply).await;
            assert!(says.contains("in force already"), "{says}");
            assert_eq!(print(&database, &["progression", "show"]).await, lowered);
            wait_until("less counts", async || {
                has_lowered_effect(&database, player).await
            })
            .await;
            assert_clean(&database).await;
            game.stop().await;
            server.kill().await;

            let backup = database.path().join("backup");
            let backup = backup.to_str().expect("a path");
            print(&database, &["export", backup]).await;
            print(&restored, &["import", backup]).await;
            assert_eq!(print(&restored, &["progression", "show"]).await, lowered);
            let server = restored.start().await;
            let store = restored.store().await;
            wait_until("the projector has begun anew", async || {
                store.projector_place().await.expect("a place").commit > 0
            })
            .await;
            assert_clean(&restored).await;
            server.kill().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_start_stores_its_definitions_and_reports_other_ones() {
    with_timeout(async {
        for database in [TestDatabase::sqlite().await, TestDatabase::postgres().await] {
            let first = write_definitions(&database, 200);
            let server = database.start_with(&FILE_SETTING).await;
            let newest = database.store().await.newest_definitions().await;
            let newest = newest.expect("definitions").expect("definitions");
            assert_eq!(newest.number, DefinitionsNumber::FIRST);
            assert_eq!(newest.body, first);
            assert!(!server.logs().contains("differ"), "{}", server.logs());
            server.kill().await;

            write_definitions(&database, 100);
            let server = database.start_with(&FILE_SETTING).await;
            let line = server.logged_line("progression.file differs").await;
            assert!(line.contains("raidhall progression apply"), "{line}");
            server.kill().await;
            let server = database.start().await;
            let line = server.logged_line("the built-in definitions").await;
            assert!(line.contains("raidhall progression apply"), "{line}");
            server.kill().await;

            let moved = first.replace("window = \"weekly\"", "window = \"season\"");
            write_file(&database, &moved);
            let refused = run(&database, &["progression", "apply", FILE], &[]).await;
            assert_eq!(refused.status.code(), Some(65), "{refused:?}");
            let says = String::from_utf8_lossy(&refused.stderr);
            assert!(says.contains("boards.weekly.window: must stay"), "{says}");
            assert_eq!(print(&database, &["progression", "show"]).await, first);
        }
    })
    .await;
}

#[tokio::test]
async fn all_faults_of_definitions_are_listed() {
    with_timeout(async {
        let database = TestDatabase::sqlite().await;
        let faulty = "casual_xp_per_day = 'many'\nranked_xp_per_day = -1\n";
        let faults = Definitions::parse(faulty).expect_err("faults");
        assert!(faults.len() > 1);
        write_file(&database, faulty);
        let apply = ["progression", "apply", FILE];
        let check = ["progression", "apply", FILE, "--check"];
        for (words, settings, code) in [
            (&apply[..], &[][..], 65),
            (&check, &[], 65),
            (&["serve"], &FILE_SETTING, 64),
            (&["check-config"], &FILE_SETTING, 64),
        ] {
            let output = run(&database, words, settings).await;
            assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
            let says = String::from_utf8_lossy(&output.stderr);
            for fault in &faults {
                assert!(says.contains(fault.as_str()), "{words:?}: {fault}: {says}");
            }
        }
        write_definitions(&database, 1);
        let says = print(&database, &check).await;
        assert!(says.contains("valid; nothing was changed"), "{says}");
        let output = run(&database, &apply, &[]).await;
        assert_eq!(output.status.code(), Some(69), "there is no database");
        std::fs::remove_file(database.path().join(FILE)).expect("remove");
        assert!(database.is_empty(), "nothing was created");
        let missing = run(&database, &apply, &[]).await;
        assert_eq!(missing.status.code(), Some(69), "{missing:?}");
    })
    .await;
}
