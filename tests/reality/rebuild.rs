//! `raidhall rebuild players` on the databases of real servers: nothing is found in healthy ones,
//! and damage is found, repaired and found no more.

use raidhall::player::PlayerFold;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::{PlayerId, Seq};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

use crate::process::TestDatabase;
use crate::raid_group::{RaidGroup, long_raid};
use crate::{wait_until, with_timeout};

const CHECK: &[&str] = &["rebuild", "players", "--check"];
const REPAIR: &[&str] = &["rebuild", "players"];

/// Runs the command. Returns its exit code and the lines that it printed.
async fn rebuild(database: &TestDatabase, words: &[&str]) -> (Option<i32>, Vec<String>) {
    let output = database.command(words, &[]).output().await;
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = said.lines().map(str::to_owned).collect();
    assert!(!lines.is_empty(), "{output:?}");
    (output.status.code(), lines)
}

/// Asserts that a run finds nothing in streams that have effects.
#[track_caller]
fn assert_clean((code, lines): (Option<i32>, Vec<String>)) {
    let [summary] = &lines[..] else {
        panic!("{lines:#?}")
    };
    assert_eq!(code, Some(0), "{summary}");
    assert!(summary.contains(", differences: 0,"), "{summary}");
    assert!(!summary.contains("effects of raids: 0,"), "{summary}");
}

async fn databases() -> [TestDatabase; 2] {
    [TestDatabase::sqlite().await, TestDatabase::postgres().await]
}

async fn stream(database: &TestDatabase, player: PlayerId) -> Vec<PlayerEvent> {
    let store = database.store().await;
    let events = store.stream_events(player, Seq::ZERO, 10_000).await;
    events.expect("events")
}

/// Waits until each player has earned XP in so many events of their stream. A transaction of another
/// test on the same server can keep the projector waiting.
async fn wait_for_earned_xp(database: &TestDatabase, players: &[PlayerId], count: usize) {
    let is_earned = |it: &&PlayerEvent| matches!(it.data, PlayerEventData::XpEarned { .. });
    wait_until("all players have earned XP", async || {
        for player in players {
            let events = stream(database, *player).await;
            if events.iter().filter(is_earned).count() < count {
                return false;
            }
        }
        true
    })
    .await;
}

/// Plays until each player has earned XP in three events of their stream, and kills the server.
async fn play_and_kill(database: &TestDatabase, players: usize) -> Vec<PlayerId> {
    let server = database.start().await;
    let group = RaidGroup::start(server.target(), players, &long_raid(players)).await;
    let ids = group.players.iter().map(|it| it.player_ref().id);
    let players: Vec<_> = ids.collect();
    let game = group.start_playing();
    wait_for_earned_xp(database, &players, 3).await;
    game.stop().await;
    server.kill().await;
    players
}

/// Executes a statement on the database, each in its own dialect.
async fn execute(database: &TestDatabase, sqlite: String, postgres: String) {
    let url = database.url();
    if url.starts_with("sqlite") {
        let mut connection = SqliteConnection::connect(&url).await.expect("connect");
        connection
            .execute(AssertSqlSafe(sqlite))
            .await
            .expect("execute");
        connection.close().await.expect("close");
    } else {
        let mut connection = PgConnection::connect(&url).await.expect("connect");
        connection
            .execute(AssertSqlSafe(postgres))
            .await
            .expect("execute");
        connection.close().await.expect("close");
    }
}

async fn execute_both(database: &TestDatabase, sql: String) {
    execute(database, sql.clone(), sql).await;
}

/// Takes the effects of a stream's last cause away.
async fn lose_last_effects(database: &TestDatabase, player: PlayerId) {
    execute_both(
        database,
        format!(
            "DELETE FROM player_events WHERE player = {player} AND (cause_raid, cause_seq) =
                (SELECT cause_raid, cause_seq FROM player_events WHERE player = {player} ORDER BY seq DESC LIMIT 1);
            UPDATE player_streams SET last_seq = (SELECT max(seq) FROM player_events WHERE player = {player})
            WHERE player = {player}"
        ),
    )
    .await;
    save_state(database, player).await;
}

/// Saves the state at the stream's end. The first append to a stream saves it, and had all events if
/// the projector was late.
async fn save_state(database: &TestDatabase, player: PlayerId) {
    let loaded = database.store().await.load_stream(player, None).await;
    let name = loaded.expect("a stream").expect("a player").name;
    let mut fold = PlayerFold::new(player, name);
    for event in stream(database, player).await {
        fold.apply(&event);
    }
    let state: String = fold.encode().iter().map(|it| format!("{it:02x}")).collect();
    let save = |state: String| {
        format!(
            "UPDATE player_streams SET state = {state}, state_seq = last_seq WHERE player = {player}"
        )
    };
    execute(
        database,
        save(format!("x'{state}'")),
        save(format!("'\\x{state}'")),
    )
    .await;
}

/// Appends a stream's last `xp_earned` again, without its op key.
async fn repeat_earned_xp(database: &TestDatabase, player: PlayerId) {
    execute_both(
        database,
        format!(
            "UPDATE player_streams SET last_seq = last_seq + 1 WHERE player = {player};
            INSERT INTO player_events (player, seq, at, kind, version, cause_raid, cause_seq, data)
                SELECT player, (SELECT last_seq FROM player_streams WHERE player = {player}), at, kind, version,
                    cause_raid, cause_seq, data
                FROM player_events WHERE player = {player} AND kind = 'xp_earned'
                ORDER BY seq DESC LIMIT 1"
        ),
    )
    .await;
}

/// Makes a stream's last `xp_earned` say that much more XP was earned.
async fn raise_earned_xp(database: &TestDatabase, player: PlayerId) {
    let which = format!(
        "player = {player} AND seq =
            (SELECT max(seq) FROM player_events WHERE player = {player} AND kind = 'xp_earned')"
    );
    let wrong = r#"{"amount": 70001, "xp": 70002}"#;
    execute(
        database,
        format!("UPDATE player_events SET data = json_patch(data, '{wrong}') WHERE {which}"),
        format!("UPDATE player_events SET data = data || '{wrong}' WHERE {which}"),
    )
    .await;
}

/// Gives a stream the saved state of another one.
async fn swap_state(database: &TestDatabase, player: PlayerId, other: PlayerId) {
    execute_both(
        database,
        format!(
            "UPDATE player_streams SET state = (SELECT state FROM player_streams WHERE player = {other})
            WHERE player = {player}"
        ),
    )
    .await;
}

#[track_caller]
fn assert_found(lines: &[String], player: PlayerId, parts: &[&str]) {
    let begin = format!("player {player}: ");
    let is_found =
        |line: &String| line.starts_with(&begin) && parts.iter().all(|part| line.contains(part));
    assert!(
        lines.iter().any(is_found),
        "{player}, {parts:?}: {lines:#?}"
    );
}

#[tokio::test]
async fn a_database_is_healthy_while_its_server_plays_on() {
    with_timeout(async {
        for database in databases().await {
            let server = database.start().await;
            let group = RaidGroup::start(server.target(), 4, &long_raid(4)).await;
            let player = group.players[0].player_ref().id;
            let game = group.start_playing();
            wait_for_earned_xp(&database, &[player], 1).await;
            for words in [CHECK, REPAIR, CHECK] {
                game.wait_for_events(40).await;
                assert_clean(rebuild(&database, words).await);
            }
            game.wait_for_events(1).await;
            game.stop().await;
            server.kill().await;
            assert_clean(rebuild(&database, CHECK).await);
        }
    })
    .await;
}

#[tokio::test]
async fn damaged_streams_are_found_repaired_and_found_no_more() {
    with_timeout(async {
        for database in databases().await {
            let players = play_and_kill(&database, 5).await;
            let [healthy, loses, repeats, raised, swapped] = players[..] else {
                unreachable!()
            };
            assert_clean(rebuild(&database, CHECK).await);
            lose_last_effects(&database, loses).await;
            repeat_earned_xp(&database, repeats).await;
            raise_earned_xp(&database, raised).await;
            swap_state(&database, swapped, healthy).await;

            let (code, lines) = rebuild(&database, CHECK).await;
            assert_eq!(code, Some(65), "{lines:#?}");
            assert_found(&lines, loses, &["has no effect and should have "]);
            assert_found(&lines, repeats, &["repeats event", "should not be there"]);
            assert_found(
                &lines,
                raised,
                &["amount is 70001 and should be ", "xp is 70002"],
            );
            assert_found(&lines, swapped, &["is not the fold of the events"]);
            assert!(
                !lines.iter().any(|it| it.ends_with("; repaired")),
                "{lines:#?}"
            );
            let of_healthy = format!("player {healthy}: ");
            assert!(
                !lines.iter().any(|it| it.starts_with(&of_healthy)),
                "{lines:#?}"
            );

            let only = raised.to_string();
            let (code, lines) =
                rebuild(&database, &["rebuild", "players", "--player", &only]).await;
            assert_eq!(code, Some(0), "{lines:#?}");
            assert_found(&lines, raised, &["amount is 70001", "; repaired"]);
            assert!(
                lines[lines.len() - 1].starts_with("streams: 1, "),
                "{lines:#?}"
            );

            let (code, lines) = rebuild(&database, REPAIR).await;
            assert_eq!(code, Some(0), "{lines:#?}");
            for player in [loses, repeats, swapped] {
                assert_found(&lines, player, &["; repaired"]);
            }
            assert!(!lines.iter().any(|it| it.contains("70001")), "{lines:#?}");
            assert_clean(rebuild(&database, CHECK).await);

            // The servers' projector goes on from the repaired streams.
            play_and_kill(&database, 2).await;
            assert_clean(rebuild(&database, CHECK).await);
        }
    })
    .await;
}

#[tokio::test]
async fn a_failed_cause_is_no_difference_until_it_is_settled() {
    with_timeout(async {
        for database in databases().await {
            let players = play_and_kill(&database, 2).await;
            let player = players[0];
            let events = stream(&database, player).await;
            let cause = events[events.len() - 1].cause.expect("a cause");
            lose_last_effects(&database, player).await;
            execute_both(
                &database,
                format!(
                    "INSERT INTO projector_faults (player, raid_id, seq, error, failed_at)
                        VALUES ({player}, {}, {}, 'disk full', 1)",
                    cause.raid, cause.seq
                ),
            )
            .await;
            let (code, lines) = rebuild(&database, CHECK).await;
            assert_eq!(code, Some(0), "{lines:#?}");
            assert_found(
                &lines,
                player,
                &["failed, and the projector retries it: disk full"],
            );
            let server = database.start().await;
            wait_until("the projector has tried the cause again", async || {
                let events = stream(&database, player).await;
                events.iter().any(|event| event.cause == Some(cause))
            })
            .await;
            assert_clean(rebuild(&database, CHECK).await);
            server.kill().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_rebuild_of_an_unknown_player_ends_with_64() {
    with_timeout(async {
        for database in databases().await {
            drop(database.migrated_store().await);
            let words = ["rebuild", "players", "--player", "7", "--check"];
            let output = database.command(&words, &[]).output().await;
            let output = output.expect("it runs");
            assert_eq!(output.status.code(), Some(64), "{output:?}");
            let says = String::from_utf8_lossy(&output.stderr);
            assert!(says.contains("there is no player 7"), "{says}");
            assert!(output.stdout.is_empty(), "{output:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_rebuild_without_a_schema_says_to_migrate() {
    with_timeout(async {
        let database = TestDatabase::empty_postgres().await;
        let output = database.command(REPAIR, &[]).output().await;
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        let says = String::from_utf8_lossy(&output.stderr);
        assert!(says.contains("run `raidhall migrate`"), "{says}");
    })
    .await;
}
