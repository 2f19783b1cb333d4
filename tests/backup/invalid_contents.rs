//! Undamaged files with contradictory content: refused in spite of right checksums.

use raidhall::backup::BackupError;
use raidhall::store::backup::{EventLine, PlayerEventLine, PlayerLine};
use serde_json::json;

use crate::backup_contents::BackupContents;
use crate::backup_database::{BackupDatabase, export_to_file};
use crate::raid_generator::fill_store;

async fn sample_contents() -> BackupContents {
    let database = BackupDatabase::sqlite();
    fill_store(database.store().await.as_ref(), 6, 80, 9).await;
    BackupContents::read(&database.export().await.0)
        .await
        .expect("a good file")
        .0
}

/// Imports altered contents into each kind of store, and returns the errors. The databases must
/// stay empty.
async fn import_errors(alter: impl FnOnce(&mut BackupContents)) -> Vec<String> {
    let mut contents = sample_contents().await;
    alter(&mut contents);
    let (file, _) = export_to_file(&mut contents).await;
    let mut messages = Vec::new();
    for database in [BackupDatabase::sqlite(), BackupDatabase::postgres().await] {
        let error = database
            .import(&file)
            .await
            .expect_err("contradictory contents");
        assert!(matches!(error, BackupError::Invalid { .. }), "{error:?}");
        messages.push(error.to_string());
        let (_, counted) = database.export().await;
        assert_eq!(
            (
                counted.players,
                counted.raids,
                counted.events,
                counted.sign_ins
            ),
            (0, 0, 0, 0)
        );
    }
    messages
}

async fn assert_import_refused(alter: impl FnOnce(&mut BackupContents), says: &str) {
    for message in import_errors(alter).await {
        assert!(message.contains(says), "{message}");
    }
}

#[tokio::test]
async fn an_import_with_a_gap_in_a_ledger_is_refused() {
    let third = |contents: &mut BackupContents| {
        contents
            .events
            .retain(|event| (event.raid, event.seq) != (2, 3))
    };
    assert_import_refused(
        third,
        "raid 2: the ledger goes on with event 4 instead of 3",
    )
    .await;
}

#[tokio::test]
async fn a_ledger_without_its_end_is_refused() {
    let last = |contents: &mut BackupContents| {
        let last = contents.raids[3].last_seq;
        contents
            .events
            .retain(|event| (event.raid, event.seq) != (4, last));
    };
    assert_import_refused(last, "raid 4: last_seq is").await;
}

#[tokio::test]
async fn progress_that_contradicts_the_ledger_is_refused() {
    assert_import_refused(
        |contents| contents.raids[0].current_xp += 1,
        "raid 1: current_xp is",
    )
    .await;
}

#[tokio::test]
async fn a_title_that_contradicts_the_ledger_is_refused() {
    assert_import_refused(
        |contents| contents.raids[0].title.push('!'),
        "raid 1: title is",
    )
    .await;
}

#[tokio::test]
async fn player_totals_above_those_of_the_ledger_are_refused() {
    const TOO_MANY: i64 = 1 << 40;
    assert_import_refused(
        |contents| contents.players[1].xp = TOO_MANY,
        "player 2: their totals",
    )
    .await;
    assert_import_refused(
        |contents| contents.players[1].raids_won = TOO_MANY,
        "player 2: their totals",
    )
    .await;
    assert_import_refused(
        |contents| contents.players[1].tasks = TOO_MANY,
        "player 2: their totals",
    )
    .await;
}

#[tokio::test]
async fn player_totals_below_those_of_the_stream_are_refused() {
    type Total = fn(&mut PlayerLine) -> &mut i64;
    let totals: [(&str, Total); 2] = [
        ("the player's xp is", |player| &mut player.xp),
        ("the player's tasks is", |player| &mut player.tasks),
    ];
    for (expected, total) in totals {
        let lower = move |contents: &mut BackupContents| {
            let with_streams = contents.players.iter_mut().take(4);
            let totals = with_streams.map(total);
            *totals.max().expect("a player") -= 1;
        };
        assert_import_refused(lower, expected).await;
    }
}

#[tokio::test]
async fn an_event_that_contradicts_earlier_events_is_refused() {
    let contradict = |contents: &mut BackupContents| {
        let joined = contents
            .events
            .iter_mut()
            .find(|event| event.kind == "member_joined")
            .expect("a member");
        joined.kind = "task_released".into();
        joined.data = json!({"task": 400, "player": 1});
    };
    assert_import_refused(contradict, "contradicts").await;
}

#[tokio::test]
async fn an_import_with_an_event_of_a_newer_release_is_refused() {
    assert_import_refused(
        |contents| contents.events[5].version = 99,
        "version 99 is newer",
    )
    .await;
}

/// A snapshot is only a shortcut: the raid is rebuilt from its ledger.
#[tokio::test]
async fn a_snapshot_that_contradicts_the_ledger_is_not_imported() {
    let mut contents = sample_contents().await;
    let kept = contents.snapshots.len();
    assert!(kept > 1);
    contents.snapshots[0].state = "0001c0".into();
    let (file, _) = export_to_file(&mut contents).await;
    let database = BackupDatabase::sqlite();
    assert_eq!(
        database
            .import(&file)
            .await
            .expect("import")
            .snapshots_left_out,
        1
    );
    let (again, _) = BackupContents::read(&database.export().await.0)
        .await
        .expect("a good file");
    assert_eq!(again.snapshots.len(), kept - 1);
}

/// Returns the only event of a player's stream with this seq.
fn player_event(contents: &mut BackupContents, player: i64, seq: i64) -> &mut PlayerEventLine {
    let mut events = contents.player_events.iter_mut();
    let event = events.find(|event| (event.player, event.seq) == (player, seq));
    event.expect("an event")
}

#[tokio::test]
async fn a_stream_with_a_gap_or_without_its_end_is_refused() {
    let third = |contents: &mut BackupContents| {
        let is_third = |event: &PlayerEventLine| (event.player, event.seq) == (2, 3);
        contents.player_events.retain(|event| !is_third(event));
    };
    assert_import_refused(
        third,
        "stream of player 2: goes on with event 4 instead of 3",
    )
    .await;
    let last = |contents: &mut BackupContents| {
        let last = contents.streams[1].last_seq;
        let is_last = |event: &PlayerEventLine| (event.player, event.seq) == (2, last);
        contents.player_events.retain(|event| !is_last(event));
        contents.streams[1].state_seq = contents.streams[1].state_seq.min(last - 1);
    };
    assert_import_refused(last, "stream of player 2: ").await;
    let head = |contents: &mut BackupContents| contents.streams[1].last_seq += 1;
    assert_import_refused(head, "stream of player 2: last_seq is").await;
}

#[tokio::test]
async fn a_saved_state_that_contradicts_the_stream_is_refused() {
    let stale = |contents: &mut BackupContents| contents.streams[0].state_seq -= 1;
    assert_import_refused(stale, "stream of player 1: state is not").await;
    let other = |contents: &mut BackupContents| {
        contents.streams[1].state = contents.streams[0].state.clone();
    };
    assert_import_refused(other, "stream of player 2: state is not").await;
    let damaged = |contents: &mut BackupContents| contents.streams[1].state = "0001c0".into();
    assert_import_refused(damaged, "stream of player 2: state: ").await;
    let newer = |contents: &mut BackupContents| {
        contents.streams[1].state.replace_range(..4, "ffff");
    };
    assert_import_refused(newer, "newer than this release").await;
}

#[tokio::test]
async fn an_end_of_a_streak_that_contradicts_the_stream_is_refused() {
    let never = |contents: &mut BackupContents| contents.streams[0].due_at = Some(1);
    assert_import_refused(never, "stream of player 1: due_at is").await;
}

#[tokio::test]
async fn a_name_that_contradicts_the_stream_is_refused() {
    assert_import_refused(
        |contents| contents.players[0].name.push('!'),
        "stream of player 1: name is",
    )
    .await;
}

#[tokio::test]
async fn a_stream_of_an_erased_player_is_refused() {
    assert_import_refused(
        |contents| contents.players[1].erased_at = Some(5),
        "stream of player 2: an erased player has no stream",
    )
    .await;
}

#[tokio::test]
async fn a_stream_with_a_repeated_op_is_refused() {
    let repeat = |contents: &mut BackupContents| {
        for seq in [1, 2] {
            player_event(contents, 1, seq).op_key = Some("ab".repeat(16));
        }
    };
    assert_import_refused(repeat, "the database refuses a line").await;
}

#[tokio::test]
async fn an_import_with_a_player_event_of_a_newer_release_is_refused() {
    assert_import_refused(
        |contents| player_event(contents, 1, 2).version = 99,
        "stream of player 1: event 2: version 99 is newer",
    )
    .await;
}

#[tokio::test]
async fn an_import_with_a_players_task_in_a_ranked_raid_is_refused() {
    let rank = |contents: &mut BackupContents| {
        let is_added = |event: &&EventLine| event.kind == "task_added" && event.by.is_some();
        let raid = contents.events.iter().find(is_added).expect("a task").raid;
        let mut events = contents.events.iter_mut();
        let created = events.find(|event| event.raid == raid).expect("a raid");
        created.data["ranked"] = json!(true);
    };
    assert_import_refused(rank, "by: is a player, in a ranked raid").await;
}

#[tokio::test]
async fn a_raid_of_a_release_without_ranked_raids_is_imported() {
    let mut contents = sample_contents().await;
    for event in &mut contents.events {
        if let Some(data) = event.data.as_object_mut().filter(|_| event.version == 3)
            && data.get("ranked") == Some(&json!(false))
        {
            data.remove("ranked");
            event.version = 1;
        }
    }
    let (file, _) = export_to_file(&mut contents).await;
    for database in [BackupDatabase::sqlite(), BackupDatabase::postgres().await] {
        database.import(&file).await.expect("imported");
    }
}

#[tokio::test]
async fn a_score_that_the_stream_does_not_explain_is_refused() {
    let higher = |contents: &mut BackupContents| contents.board_scores[0].score += 1 << 40;
    assert_import_refused(higher, "and the events counted").await;
    let elsewhere = |contents: &mut BackupContents| contents.board_scores[0].reached_seq += 1_000;
    assert_import_refused(elsewhere, "no event reached it").await;
    let other = |contents: &mut BackupContents| {
        let first = contents.board_scores[0].clone();
        contents.board_scores.insert(1, first);
    };
    assert_import_refused(other, "is out of order").await;
}
