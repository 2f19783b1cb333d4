//! Pages of the projector beside commands, erasures, each other and a takeover.

use raidhall::store::{
    Accounts, Erasures, FeedCursor, InstanceId, InstanceRecord, PlayerStreams, ProjectedPage,
    ProjectionOutcome, StreamOutcome,
};
use raidhall_protocol::{PlayerId, Seq, UnixMillis};

use super::JUST_EXPIRED;
use super::erasures::{create_ada, erase};
use super::scheduler::{Interleavings, OrderRun, SessionCall};
use super::streams::call_append;
use crate::conformance::projection::{acquire, cause, failed_cause, failed_causes, page, project};
use crate::conformance::streams::{append, assert_no_stream, load, notified, stream_append};

async fn open_with_gates(sessions: usize) -> Interleavings {
    let mut interleavings = Interleavings::open(sessions).await;
    let gates = interleavings.gates();
    gates.add("player_streams", "UPDATE").await;
    gates.add("projector", "UPDATE").await;
    interleavings
}

/// Registers an instance and makes it the projector.
async fn add_projector(run: &mut OrderRun<'_>) -> (InstanceRecord, FeedCursor) {
    let projector = run.add_instance().await;
    let place = acquire(run.store(), projector.id).await;
    (projector, place)
}

fn call_page(
    run: &mut OrderRun<'_>,
    projector: InstanceId,
    page: &ProjectedPage,
) -> SessionCall<ProjectionOutcome> {
    let page = page.clone();
    run.call("page", move |store| async move {
        project(&*store, projector, &page).await
    })
}

/// Creates a player with as many events.
async fn create_player_with_events(run: &OrderRun<'_>, events: u64) -> PlayerId {
    let player = create_ada(run).await;
    for after in 0..events {
        append(
            run.store(),
            &stream_append(player, after, [notified("old")]),
        )
        .await;
    }
    player
}

/// A page and a command of one of its players: the later one changes nothing of this player.
async fn check_page_beside_command(after: u64) {
    let mut interleavings = open_with_gates(2).await;
    while let Some(mut run) = interleavings.next_order().await {
        let ada = create_player_with_events(&run, after).await;
        let ben = create_player_with_events(&run, after).await;
        let (projector, place) = add_projector(&mut run).await;
        let page = ProjectedPage {
            failed: vec![failed_cause(ben, cause(9, 1))],
            ..page(
                place,
                [ben, ada].map(|player| stream_append(player, after, [notified("effect")])),
            )
        };
        let projecting = call_page(&mut run, projector.id, &page);
        let command = stream_append(ada, after, [notified("command")]);
        let commanding = call_append(&mut run, command);
        run.step_through().await;

        let is_committed = match projecting.answer().await {
            ProjectionOutcome::Committed => true,
            outcome => {
                assert_eq!(outcome, ProjectionOutcome::Moved(vec![ada]));
                false
            }
        };
        let expected = if is_committed {
            StreamOutcome::Moved
        } else {
            StreamOutcome::Appended
        };
        assert_eq!(commanding.answer().await, expected);
        for player in [ada, ben] {
            let loaded = load(run.store(), player, None).await;
            assert_eq!(loaded.last_seq, Seq(after + 1));
        }
        let kind = if is_committed { "effect" } else { "command" };
        let events = run.store().stream_events(ada, Seq(after), 9).await;
        assert_eq!(events.expect("events")[0].data, notified(kind));
        let place = acquire(run.store(), projector.id).await;
        assert_eq!(place == page.to, is_committed);
        assert_ne!(place == page.from, is_committed);
        let failed = failed_causes(run.store()).await;
        assert_eq!(failed.iter().any(|it| it.player == ben), is_committed);
    }
}

#[tokio::test]
async fn a_page_and_the_first_command_of_a_player_do_not_mix() {
    check_page_beside_command(0).await;
}

#[tokio::test]
async fn a_page_and_a_later_command_of_a_player_do_not_mix() {
    check_page_beside_command(1).await;
}

#[tokio::test]
async fn one_of_two_statements_with_the_same_page_commits() {
    let mut interleavings = open_with_gates(2).await;
    while let Some(mut run) = interleavings.next_order().await {
        let ada = create_player_with_events(&run, 0).await;
        let ben = create_player_with_events(&run, 1).await;
        let (projector, place) = add_projector(&mut run).await;
        let appends =
            [(ben, 1), (ada, 0)].map(|(of, after)| stream_append(of, after, [notified("effect")]));
        let page = page(place, appends);
        let calls = [0, 1].map(|_| call_page(&mut run, projector.id, &page));
        run.step_through().await;

        let mut committed = 0;
        for call in calls {
            match call.answer().await {
                ProjectionOutcome::Committed => committed += 1,
                outcome => assert_eq!(outcome, ProjectionOutcome::Lost),
            }
        }
        assert_eq!(committed, 1);
        assert_eq!(load(run.store(), ada, None).await.last_seq, Seq(1));
        assert_eq!(load(run.store(), ben, None).await.last_seq, Seq(2));
        assert_eq!(acquire(run.store(), projector.id).await, page.to);
    }
}

/// A page is written before another instance takes the projector's place, or not at all.
#[tokio::test]
async fn a_page_beside_a_takeover_is_seen_by_it_or_lost() {
    let mut interleavings = open_with_gates(2).await;
    while let Some(mut run) = interleavings.next_order().await {
        let ada = create_player_with_events(&run, 0).await;
        let (former, place) = add_projector(&mut run).await;
        run.set_lease(&former, JUST_EXPIRED).await;
        let next = run.add_instance().await.id;
        let page = page(place, [stream_append(ada, 0, [notified("effect")])]);
        let projecting = call_page(&mut run, former.id, &page);
        let taking = run.call("acquire", move |store| async move {
            acquire(&*store, next).await
        });
        run.step_through().await;

        let found = taking.answer().await;
        if found == page.to {
            assert_eq!(projecting.answer().await, ProjectionOutcome::Committed);
            assert_eq!(load(run.store(), ada, None).await.last_seq, Seq(1));
        } else {
            assert_eq!(found, page.from);
            assert_eq!(projecting.answer().await, ProjectionOutcome::Lost);
            assert_no_stream(run.store(), ada).await;
        }
        assert_eq!(acquire(run.store(), next).await, found);
    }
}

/// An erasure does not see the rows of a page that it waits for; its end does.
async fn check_page_beside_erasure(after: u64) {
    let mut interleavings = open_with_gates(2).await;
    interleavings.gates().add("players", "UPDATE").await;
    while let Some(mut run) = interleavings.next_order().await {
        let ada = create_player_with_events(&run, after).await;
        let ben = create_player_with_events(&run, after).await;
        let (projector, place) = add_projector(&mut run).await;
        let page = ProjectedPage {
            failed: vec![
                failed_cause(ada, cause(9, 1)),
                failed_cause(ben, cause(9, 1)),
            ],
            ..page(
                place,
                [ada, ben].map(|player| stream_append(player, after, [notified("effect")])),
            )
        };
        let projecting = call_page(&mut run, projector.id, &page);
        let erasing = erase(&mut run, ada);
        run.step_through().await;

        erasing.answer().await;
        assert_eq!(projecting.answer().await, ProjectionOutcome::Committed);
        run.store().end_erasure(ada).await.expect("end");
        assert_no_stream(run.store(), ada).await;
        assert_eq!(load(run.store(), ben, None).await.last_seq, Seq(after + 1));
        let failed = failed_causes(run.store()).await;
        assert!(failed.iter().any(|it| it.player == ben));
        assert!(failed.iter().all(|it| it.player != ada));
    }
}

#[tokio::test]
async fn an_erasure_leaves_nothing_of_a_page_that_begins_a_stream() {
    check_page_beside_erasure(0).await;
}

#[tokio::test]
async fn an_erasure_leaves_nothing_of_a_page_that_continues_a_stream() {
    check_page_beside_erasure(1).await;
}

/// The failed cause's player has no stream, and no effect in the page.
#[tokio::test]
async fn a_deleted_guest_leaves_no_failed_cause_of_a_page() {
    const LATER: UnixMillis = UnixMillis(4_000_000_000_000);
    let mut interleavings = open_with_gates(2).await;
    interleavings.gates().add("players", "DELETE").await;
    while let Some(mut run) = interleavings.next_order().await {
        let ada = create_ada(&run).await;
        let (projector, place) = add_projector(&mut run).await;
        let page = ProjectedPage {
            failed: vec![failed_cause(ada, cause(9, 1))],
            ..page(place, [])
        };
        let projecting = call_page(&mut run, projector.id, &page);
        let deleting = run.call("delete guests", move |store| async move {
            let deleted = store.delete_unused_guests(None, 10, LATER, LATER).await;
            deleted.expect("a batch").count
        });
        run.step_through().await;

        assert_eq!(projecting.answer().await, ProjectionOutcome::Committed);
        assert_eq!(deleting.answer().await, 1);
        assert_eq!(failed_causes(run.store()).await, []);
    }
}
