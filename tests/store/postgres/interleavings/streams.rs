//! Appends to a player's stream beside each other, beside an erasure and beside the deletion of unused
//! guests.

use raidhall::store::{Accounts, Erasures, PlayerStreams, StreamAppend, StreamOutcome};
use raidhall_protocol::player::PlayerEventData;
use raidhall_protocol::{Seq, UnixMillis};

use super::erasures::{create_ada, erase};
use super::scheduler::{Interleavings, OrderRun, SessionCall};
use crate::conformance::streams::{append, assert_no_stream, events_of, notified, stream_append};

pub(super) fn call_append(
    run: &mut OrderRun<'_>,
    append: StreamAppend,
) -> SessionCall<StreamOutcome> {
    run.call("append", move |store| async move {
        let outcome = store.append_to_stream(&append).await;
        outcome.expect("append")
    })
}

async fn open_with_gates(sessions: usize) -> Interleavings {
    let mut interleavings = Interleavings::open(sessions).await;
    interleavings.gates().add("player_streams", "UPDATE").await;
    interleavings
}

/// Of two appends after the same seq, one takes effect and the other changes nothing.
async fn check_rival_appends(after: u64) {
    let mut interleavings = open_with_gates(2).await;
    while let Some(mut run) = interleavings.next_order().await {
        let ada = create_ada(&run).await;
        if after > 0 {
            append(run.store(), &stream_append(ada, 0, [notified("old")])).await;
        }
        let rivals = ["Bea", "Cyd"].map(|name| {
            let renamed = PlayerEventData::NameChanged { name: name.into() };
            stream_append(ada, after, [notified("new"), renamed])
        });
        let calls = rivals.clone().map(|rival| call_append(&mut run, rival));
        run.step_through().await;

        let mut appended = Vec::new();
        for (rival, call) in rivals.into_iter().zip(calls) {
            match call.answer().await {
                StreamOutcome::Appended => appended.push(rival),
                outcome => assert_eq!(outcome, StreamOutcome::Moved),
            }
        }
        assert_eq!(appended.len(), 1, "one append takes effect");
        let events = run.store().stream_events(ada, Seq(after), 10).await;
        assert_eq!(events.expect("events"), events_of(&appended[0]));
        let loaded = run.store().load_stream(ada, None).await.expect("load");
        let loaded = loaded.expect("a stream");
        let renamed = PlayerEventData::NameChanged { name: loaded.name };
        assert_eq!(renamed, appended[0].events[1].event.data);
        assert_eq!(loaded.last_seq, Seq(after + 2));
    }
}

#[tokio::test]
async fn one_of_two_first_appends_to_a_stream_takes_effect() {
    check_rival_appends(0).await;
}

#[tokio::test]
async fn one_of_two_appends_after_the_same_seq_takes_effect() {
    check_rival_appends(1).await;
}

/// An erasure does not see the rows of an append that it waits for; its end does.
async fn check_append_beside_erasure(after: u64) {
    let mut interleavings = open_with_gates(2).await;
    interleavings.gates().add("players", "UPDATE").await;
    while let Some(mut run) = interleavings.next_order().await {
        let ada = create_ada(&run).await;
        if after > 0 {
            append(run.store(), &stream_append(ada, 0, [notified("old")])).await;
        }
        let renamed = PlayerEventData::NameChanged { name: "Bea".into() };
        let appending = call_append(&mut run, stream_append(ada, after, [renamed]));
        let erasing = erase(&mut run, ada);
        run.step_through().await;

        let was_erased = run.ended_before(&erasing, &appending);
        erasing.answer().await;
        let outcome = appending.answer().await;
        assert_eq!(outcome == StreamOutcome::Gone, was_erased, "{outcome:?}");
        let late = stream_append(ada, after + 1, [notified("late")]);
        let outcome = run.store().append_to_stream(&late).await;
        assert_eq!(outcome.expect("append"), StreamOutcome::Gone);
        run.store().end_erasure(ada).await.expect("end");
        assert_no_stream(run.store(), ada).await;
        let profile = run.store().player(ada).await.expect("read");
        assert_eq!(profile.expect("a player").name, "[erased]");
    }
}

#[tokio::test]
async fn an_erasure_leaves_no_stream_that_is_begun_meanwhile() {
    check_append_beside_erasure(0).await;
}

#[tokio::test]
async fn an_erasure_leaves_no_event_that_is_appended_meanwhile() {
    check_append_beside_erasure(1).await;
}

async fn check_append_beside_guest_deletion(after: u64) {
    const LATER: UnixMillis = UnixMillis(4_000_000_000_000);
    let mut interleavings = open_with_gates(2).await;
    interleavings.gates().add("players", "DELETE").await;
    while let Some(mut run) = interleavings.next_order().await {
        let ada = create_ada(&run).await;
        if after > 0 {
            append(run.store(), &stream_append(ada, 0, [notified("old")])).await;
        }
        let appending = call_append(&mut run, stream_append(ada, after, [notified("new")]));
        let deleting = run.call("delete guests", move |store| async move {
            let deleted = store.delete_unused_guests(None, 10, LATER, LATER).await;
            deleted.expect("a batch").count
        });
        run.step_through().await;

        assert_ne!(appending.answer().await, StreamOutcome::Moved);
        assert_eq!(deleting.answer().await, 1);
        assert_no_stream(run.store(), ada).await;
        assert_eq!(run.store().player(ada).await.expect("read"), None);
    }
}

#[tokio::test]
async fn a_deleted_guest_leaves_no_stream_that_is_begun_meanwhile() {
    check_append_beside_guest_deletion(0).await;
}

#[tokio::test]
async fn a_deleted_guest_leaves_no_event_that_is_appended_meanwhile() {
    check_append_beside_guest_deletion(1).await;
}
