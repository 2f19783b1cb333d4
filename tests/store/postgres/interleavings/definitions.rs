//! A change of the definitions beside commits of events, which carry their number.

use raidhall::store::ProgressionDefinitions;

use super::create_owned_raid;
use super::scheduler::Interleavings;
use crate::conformance::commit;
use crate::conformance::definitions::{event_at, newest_number};
use crate::history::said;

/// A change of the definitions, a commit and a reader of its event, in every order. The event carries
/// the newest definitions that its statement saw, so the reader finds them.
#[tokio::test]
async fn a_reader_of_an_event_finds_the_definitions_that_it_carries() {
    let mut interleavings = Interleavings::open(3).await;
    let gates = interleavings.gates();
    gates.add("progression_definitions", "INSERT").await;
    let mut read = 0;
    let mut of_later = 0;
    let mut of_earlier = 0;
    while let Some(mut run) = interleavings.next_order().await {
        let (_, mut history) = create_owned_raid(&mut run).await;
        let raid = history.raid.get();
        let append = history.append([said("hello")]);
        let seq = append.last_seq().0;
        let prepare = run.store().apply_definitions("before");
        prepare.await.expect("apply");
        let before = newest_number(run.store()).await;
        let applying = run.call("apply", |store| async move {
            store.apply_definitions("after").await.expect("apply");
        });
        let committing = run.call("commit", |store| async move {
            commit(&*store, &append).await;
        });
        let reading = run.call("read", move |store| async move {
            let found = event_at(&*store, raid, seq).await?;
            Some((found.definitions, newest_number(&*store).await))
        });
        run.step_through().await;

        let is_applied_first = run.ended_before(&applying, &committing);
        applying.answer().await;
        committing.answer().await;
        if let Some((carried, newest)) = reading.answer().await {
            assert!(carried <= newest, "{carried:?} is not in the store");
            read += 1;
        }
        let event = event_at(run.store(), raid, seq).await.expect("an event");
        if event.definitions == before {
            of_earlier += 1;
        } else {
            assert_eq!(event.definitions, before.next());
            assert!(is_applied_first);
            of_later += 1;
        }
    }
    assert!(read > 0 && of_later > 0 && of_earlier > 0);
}
