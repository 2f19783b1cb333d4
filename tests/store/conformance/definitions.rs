//! Checks of the definitions of progression, and of the events that carry their numbers.

use raidhall::progression::DefinitionsNumber;
use raidhall::store::{ApplyOutcome, CommittedEvent, FeedCursor};
use raidhall_protocol::Event;
use raidhall_protocol::player::event::RaidPlace;

use super::*;
use crate::history::said;

const FIRST: DefinitionsNumber = DefinitionsNumber::FIRST;

pub async fn newest_number(store: &dyn Store) -> DefinitionsNumber {
    let newest = store.newest_definitions().await.expect("definitions");
    newest.map_or(FIRST, |newest| newest.number)
}

async fn apply(store: &dyn Store, body: &str) -> ApplyOutcome {
    store.apply_definitions(body).await.expect("apply")
}

async fn bodies_after(store: &dyn Store, after: Option<DefinitionsNumber>) -> Vec<(u32, String)> {
    let stored = store.definitions_after(after).await.expect("definitions");
    let stored = stored.into_iter().map(|it| (it.number.0, it.body));
    stored.collect()
}

/// Returns the event at a place as a reader by places finds it.
pub async fn event_at(store: &dyn Store, of: u64, seq: u64) -> Option<CommittedEvent> {
    let place = RaidPlace {
        raid: raid(of),
        seq: Seq(seq),
    };
    store.events_at(&[place]).await.expect("events").pop()
}

pub async fn the_first_definitions_of_two_starts_are_the_same(store: &dyn Store) {
    assert_eq!(bodies_after(store, None).await, []);
    assert_eq!(store.newest_definitions().await.expect("none"), None);
    let (one, other) = tokio::join!(
        store.add_definitions(FIRST, "one"),
        store.add_definitions(FIRST, "other"),
    );
    let one = one.expect("add");
    assert_ne!(one, other.expect("add"), "one of them is stored");
    let body = if one { "one" } else { "other" };
    assert!(!store.add_definitions(FIRST, "later").await.expect("add"));
    assert_eq!(bodies_after(store, None).await, [(1, body.to_owned())]);
}

pub async fn applied_definitions_come_behind_the_newest_ones(store: &dyn Store) {
    let now = store.renew(&register_instance(store).await, LONG_TTL).await;
    let now = now.expect("renew").now;
    for (body, outcome) in [
        ("a = 1", ApplyOutcome::Applied(FIRST)),
        ("a = 1", ApplyOutcome::Unchanged),
        ("a = 'Ж'", ApplyOutcome::Applied(DefinitionsNumber(2))),
        ("a = 1", ApplyOutcome::Applied(DefinitionsNumber(3))),
    ] {
        assert_eq!(apply(store, body).await, outcome, "{body}");
    }
    let rest = [(2, "a = 'Ж'".to_owned()), (3, "a = 1".to_owned())];
    assert_eq!(bodies_after(store, Some(FIRST)).await, rest);
    assert_eq!(bodies_after(store, Some(DefinitionsNumber(3))).await, []);
    let newest = store.newest_definitions().await.expect("definitions");
    let newest = newest.expect("definitions");
    assert_eq!(newest.number, DefinitionsNumber(3));
    assert!((0..60_000).contains(&newest.applied_at.since(now)));
}

pub async fn concurrent_changes_of_definitions_follow_one_another(store: &dyn Store) {
    apply(store, "first").await;
    let (one, other) = tokio::join!(apply(store, "one"), apply(store, "other"));
    let one_is_first = one == ApplyOutcome::Applied(DefinitionsNumber(2));
    let bodies = if one_is_first {
        ["one", "other"]
    } else {
        ["other", "one"]
    };
    let expected = [(2, bodies[0].to_owned()), (3, bodies[1].to_owned())];
    assert_eq!(bodies_after(store, Some(FIRST)).await, expected);
    let last = ApplyOutcome::Applied(DefinitionsNumber(3));
    assert_eq!(if one_is_first { other } else { one }, last);
}

pub async fn events_carry_the_definitions_in_force_at_their_commit(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, create_player(store, "Ada").await).await;
    let mut numbers = vec![1; history.seq.0 as usize];
    for body in ["first", "second", "third"] {
        apply(store, body).await;
        let append = history.append([said("hello"), said(body)]);
        commit(store, &append).await;
        numbers.extend([newest_number(store).await.0; 2]);
    }
    assert_eq!(numbers[numbers.len() - 6..], [1, 1, 2, 2, 3, 3]);
    let rewritten = history.append([said("more")]).events.remove(0).event;
    let last = Event {
        seq: Seq(numbers.len() as u64),
        ..rewritten
    };
    let rewrite = store.rewrite_events(raid(1), &[last], Seq::ZERO).await;
    rewrite.expect("an erasure rewrites an event");

    let fed = wait_for("the feed", async || {
        let batch = store.read_feed(FeedCursor::default(), 100).await;
        let events = batch.expect("feed").events;
        (events.len() >= numbers.len()).then_some(events)
    });
    let fed = fed.await;
    let number = |it: &CommittedEvent| it.definitions.0;
    assert_eq!(fed.iter().map(number).collect::<Vec<_>>(), numbers);
    for event in fed {
        let found = event_at(store, 1, event.event.seq.0).await;
        assert_eq!(found, Some(event));
    }
}
