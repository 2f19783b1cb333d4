//! Appends that move scores beside bans, the ends of bans, removals and restorations.

use raidhall::store::{Boards, Moderation, StreamOutcome};
use raidhall_protocol::PlayerId;

use super::erasures::{audit_entry, create_ada};
use super::scheduler::{Interleavings, OrderRun};
use super::streams::call_append;
use crate::conformance::boards::{moved, position, scoring, top, window};
use crate::conformance::streams::append;

async fn open_with_gates() -> Interleavings {
    let mut interleavings = Interleavings::open(2).await;
    let gates = interleavings.gates();
    gates.add("players", "UPDATE").await;
    gates.add("board_scores", "INSERT OR UPDATE").await;
    interleavings
}

/// Returns how many listed scores the counts have in a window.
async fn counted(run: &OrderRun<'_>, player: PlayerId, number: i64) -> u64 {
    let last = position(player, 1, 0, 1);
    let window = window(number);
    let count = run.store().count_listed_before(&window, &last);
    count.await.expect("a count")
}

/// Other players of the database have scores in windows of their own.
fn windows_of(player: PlayerId) -> [i64; 2] {
    let number = i64::from(player) * 10;
    [number, number + 1]
}

/// The append moves a score that there is and begins another.
async fn check_append_beside_ban_change(is_ban: bool, before: u64) {
    let mut interleavings = open_with_gates().await;
    while let Some(mut run) = interleavings.next_order().await {
        let ada = create_ada(&run).await;
        let [old, new] = windows_of(ada);
        if before > 0 {
            append(run.store(), &scoring(ada, 0, vec![moved(old, 5, 1, 1)])).await;
        }
        if !is_ban {
            let banned = run.store().ban(ada, "spam", &audit_entry("ban")).await;
            assert!(banned.expect("ban"));
        }
        let moves = vec![moved(old, 5, 2, 2), moved(new, 5, 2, 2)];
        let appending = call_append(&mut run, scoring(ada, before, moves));
        let changing = run.call("change", move |store| async move {
            let entry = audit_entry("ban");
            if is_ban {
                store.ban(ada, "spam", &entry).await
            } else {
                store.unban(ada, &entry).await
            }
        });
        run.step_through().await;

        assert_eq!(appending.answer().await, StreamOutcome::Appended);
        assert!(changing.answer().await.expect("a change"));
        let expected = usize::from(!is_ban);
        for number in [old, new] {
            assert_eq!(top(run.store(), number).await.len(), expected);
            assert_eq!(counted(&run, ada, number).await, expected as u64);
        }
    }
}

#[tokio::test]
async fn a_ban_hides_the_first_scores_that_an_append_beside_it_begins() {
    check_append_beside_ban_change(true, 0).await;
}

#[tokio::test]
async fn a_ban_hides_the_scores_that_an_append_beside_it_moves() {
    check_append_beside_ban_change(true, 1).await;
}

#[tokio::test]
async fn the_end_of_a_ban_lists_the_first_scores_of_an_append_beside_it() {
    check_append_beside_ban_change(false, 0).await;
}

#[tokio::test]
async fn the_end_of_a_ban_lists_the_scores_of_an_append_beside_it() {
    check_append_beside_ban_change(false, 1).await;
}

#[tokio::test]
async fn a_removal_hides_the_score_that_an_append_beside_it_moves() {
    let mut interleavings = open_with_gates().await;
    while let Some(mut run) = interleavings.next_order().await {
        let ada = create_ada(&run).await;
        let [number, _] = windows_of(ada);
        append(run.store(), &scoring(ada, 0, vec![moved(number, 5, 1, 1)])).await;
        let moves = vec![moved(number, 5, 2, 2)];
        let appending = call_append(&mut run, scoring(ada, 1, moves));
        let removing = run.call("remove", move |store| async move {
            let entry = audit_entry("remove_score");
            store.set_removed(&window(number), ada, true, &entry).await
        });
        run.step_through().await;

        assert_eq!(appending.answer().await, StreamOutcome::Appended);
        assert!(removing.answer().await.expect("a removal"));
        assert_eq!(top(run.store(), number).await, []);
        assert_eq!(counted(&run, ada, number).await, 0);
        let window = window(number);
        let entry = audit_entry("restore_score");
        let restored = run.store().set_removed(&window, ada, false, &entry);
        assert!(restored.await.expect("a restoration"));
        let expected = position(ada, 10, 2, 2);
        assert_eq!(top(run.store(), number).await, [expected]);
        assert_eq!(counted(&run, ada, number).await, 1);
    }
}
