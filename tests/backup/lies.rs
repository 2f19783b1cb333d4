//! Files that are whole and say what cannot be: with right checksums, and refused all the same.

use raidhall::backup::BackupError;
use serde_json::json;

use crate::play::fill;
use crate::shelf::Shelf;
use crate::site::{Site, exported};

async fn shelf() -> Shelf {
    let site = Site::sqlite();
    fill(site.store().await.as_ref(), 6, 80, 9).await;
    Shelf::read(&site.export().await.0)
        .await
        .expect("a good file")
        .0
}

/// What an import says of the altered shelf, into each store; they are as empty as before.
async fn refusals(alter: impl FnOnce(&mut Shelf)) -> Vec<String> {
    let mut shelf = shelf().await;
    alter(&mut shelf);
    let (file, _) = exported(&mut shelf).await;
    let mut told = Vec::new();
    for site in [Site::sqlite(), Site::postgres().await] {
        let error = site.import(&file).await.expect_err("a lie");
        assert!(matches!(error, BackupError::Invalid { .. }), "{error:?}");
        told.push(error.to_string());
        let (_, counted) = site.export().await;
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
    told
}

async fn assert_refused(alter: impl FnOnce(&mut Shelf), says: &str) {
    for told in refusals(alter).await {
        assert!(told.contains(says), "{told}");
    }
}

#[tokio::test]
async fn a_hole_in_a_ledger_is_refused() {
    let third = |shelf: &mut Shelf| {
        shelf
            .events
            .retain(|event| (event.raid, event.seq) != (2, 3))
    };
    assert_refused(
        third,
        "raid 2: the ledger goes on with event 4 instead of 3",
    )
    .await;
}

#[tokio::test]
async fn a_ledger_without_its_end_is_refused() {
    let last = |shelf: &mut Shelf| {
        let last = shelf.raids[3].last_seq;
        shelf
            .events
            .retain(|event| (event.raid, event.seq) != (4, last));
    };
    assert_refused(last, "raid 4: last_seq is").await;
}

#[tokio::test]
async fn progress_that_the_ledger_does_not_amount_to_is_refused() {
    assert_refused(
        |shelf| shelf.raids[0].current_xp += 1,
        "raid 1: current_xp is",
    )
    .await;
}

#[tokio::test]
async fn a_status_that_the_ledger_does_not_amount_to_is_refused() {
    assert_refused(|shelf| shelf.raids[0].title.push('!'), "raid 1: title is").await;
}

#[tokio::test]
async fn totals_that_the_ledger_does_not_add_up_to_are_refused() {
    assert_refused(|shelf| shelf.players[1].xp += 1, "player 2: their totals").await;
    assert_refused(
        |shelf| shelf.players[1].raids_won += 1,
        "player 2: their totals",
    )
    .await;
    assert_refused(
        |shelf| shelf.players[1].tasks += 1,
        "player 2: their totals",
    )
    .await;
}

#[tokio::test]
async fn an_event_that_contradicts_those_before_it_is_refused() {
    let nobody = |shelf: &mut Shelf| {
        let joined = shelf
            .events
            .iter_mut()
            .find(|event| event.kind == "member_joined")
            .expect("a member");
        (joined.kind, joined.data) = ("task_released".into(), json!({"task": 400, "player": 1}));
    };
    assert_refused(nobody, "contradicts").await;
}

#[tokio::test]
async fn an_event_of_a_newer_release_is_refused() {
    assert_refused(|shelf| shelf.events[5].version = 99, "version 99 is newer").await;
}

/// It is a shortcut only: the raid is rebuilt from its ledger.
#[tokio::test]
async fn a_snapshot_that_the_ledger_does_not_amount_to_is_left_out() {
    let mut shelf = shelf().await;
    let kept = shelf.snapshots.len();
    assert!(kept > 1);
    shelf.snapshots[0].state = "0001c0".into();
    let (file, _) = exported(&mut shelf).await;
    let site = Site::sqlite();
    assert_eq!(
        site.import(&file).await.expect("import").snapshots_left_out,
        1
    );
    let (again, _) = Shelf::read(&site.export().await.0)
        .await
        .expect("a good file");
    assert_eq!(again.snapshots.len(), kept - 1);
}
