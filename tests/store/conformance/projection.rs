//! Checks of the projector's place, of pages and of failed causes.

use raidhall::store::{
    FailedCause, FeedCursor, InstanceId, OpHash, ProjectedPage, ProjectionOutcome, StoreError,
    StreamAppend,
};
use raidhall_protocol::Seq;
use raidhall_protocol::player::event::RaidPlace;

use super::erasures::erase;
use super::streams::{
    append, assert_no_stream, events_of, load, notified, renamed, stream_append, stream_events,
    with_op,
};
use super::*;
use crate::history::player;

/// Returns the projector's place that it takes as an instance.
pub async fn acquire(store: &dyn Store, instance: InstanceId) -> FeedCursor {
    let place = store.acquire_projector(instance).await.expect("acquire");
    place.expect("the place is free")
}

/// Returns a page of appends, with a place behind `from`.
pub fn page<const N: usize>(from: FeedCursor, appends: [StreamAppend; N]) -> ProjectedPage {
    let to = FeedCursor {
        commit: from.commit + 3,
        raid: 7,
        seq: 124,
    };
    ProjectedPage {
        from,
        to,
        appends: appends.into(),
        ..ProjectedPage::default()
    }
}

/// Returns the outcome of a page that is not refused.
pub async fn project(
    store: &dyn Store,
    instance: InstanceId,
    page: &ProjectedPage,
) -> ProjectionOutcome {
    let outcome = store.commit_projection(instance, page).await;
    outcome.expect("write the page")
}

pub fn cause(of: u64, seq: u64) -> RaidPlace {
    RaidPlace {
        raid: raid(of),
        seq: Seq(seq),
    }
}

/// Returns an effect of a cause on an empty stream.
fn effect(player: PlayerId, after: u64, cause: RaidPlace) -> StreamAppend {
    let mut effect = stream_append(player, after, [notified("first"), notified("last")]);
    for recorded in &mut effect.events {
        recorded.event.cause = Some(cause);
    }
    with_op(effect, OpHash::from_cause(cause))
}

pub fn failed_cause(player: PlayerId, cause: RaidPlace) -> FailedCause {
    FailedCause {
        player,
        cause,
        error: "first".to_owned(),
        failed_at: NOW,
    }
}

pub async fn failed_causes(store: &dyn Store) -> Vec<FailedCause> {
    let failed = store.failed_causes(None, 100).await.expect("failed causes");
    let count = store.count_failed_causes().await.expect("a count");
    assert_eq!(count, failed.len() as u64);
    failed
}

async fn assert_page_refused(store: &dyn Store, instance: InstanceId, page: &ProjectedPage) {
    let result = store.commit_projection(instance, page).await;
    assert!(
        matches!(result, Err(StoreError::Refused { .. })),
        "{result:?}"
    );
}

pub async fn the_projector_is_one_live_instance_at_a_time(store: &dyn Store) {
    let a = register_instance(store).await;
    let b = register_instance(store).await;
    let is_free_for = async |instance: InstanceId| {
        let place = store.acquire_projector(instance).await.expect("acquire");
        place == Some(FeedCursor::default())
    };
    assert!(is_free_for(a.id).await, "it begins at the feed's start");
    assert!(is_free_for(a.id).await, "it is its own");
    assert!(!is_free_for(b.id).await);
    store.release_projector(b.id).await.expect("release");
    assert!(!is_free_for(b.id).await, "another's place is not released");
    store.release_projector(a.id).await.expect("release");
    assert!(is_free_for(b.id).await);
    assert!(!is_free_for(a.id).await);
    expire_lease(store, &b).await;
    assert!(is_free_for(a.id).await);
}

pub async fn windows_become_final_by_the_projector_alone(store: &dyn Store) {
    let a = register_instance(store).await.id;
    let b = register_instance(store).await.id;
    let finish = async |instance: InstanceId, until: i64| {
        let finished = store.finish_boards(instance, UnixMillis(until)).await;
        let final_until = store.boards_final_until().await.expect("a moment");
        (finished.expect("finish"), final_until.0)
    };
    assert_eq!(finish(a, 500).await, (false, 0), "it is not the projector");
    acquire(store, a).await;
    assert_eq!(finish(a, 500).await, (true, 500));
    assert_eq!(finish(a, 400).await, (true, 500), "they stay final");
    assert_eq!(finish(b, 900).await, (false, 500));
    store.release_projector(a).await.expect("release");
    acquire(store, b).await;
    assert_eq!(finish(a, 900).await, (false, 500));
    assert_eq!(finish(b, 900).await, (true, 900));
}

pub async fn a_page_is_written_whole_and_moves_the_place(store: &dyn Store) {
    let a = register_instance(store).await.id;
    let b = register_instance(store).await.id;
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    append(store, &stream_append(ben, 0, [notified("old")])).await;
    let of_ada = effect(ada, 0, cause(7, 1));
    let mut of_ben = stream_append(ben, 1, [notified("a"), renamed("Bea"), notified("b")]);
    of_ben.state = None;
    for (recorded, cause) in of_ben.events.iter_mut().zip([cause(7, 1), cause(7, 2)]) {
        recorded.op = Some(OpHash::from_cause(cause));
    }
    let page = page(acquire(store, a).await, [of_ben.clone(), of_ada.clone()]);
    assert_eq!(project(store, a, &page).await, ProjectionOutcome::Committed);

    assert_eq!(stream_events(store, ada).await, events_of(&of_ada));
    assert_eq!(stream_events(store, ben).await[1..], events_of(&of_ben));
    let saved = |seq: u64| Some((Seq(seq), format!("state {seq}").into_bytes()));
    assert_eq!(load(store, ada, None).await.saved_state, saved(2));
    let loaded = load(store, ben, None).await;
    assert_eq!((loaded.saved_state, loaded.last_seq), (saved(1), Seq(4)));
    assert_eq!(loaded.name, "Bea");
    let op_seq = async |cause| {
        let op = Some(OpHash::from_cause(cause));
        load(store, ben, op).await.op_seq
    };
    assert_eq!(op_seq(cause(7, 1)).await, Some(Seq(2)));
    assert_eq!(op_seq(cause(7, 2)).await, Some(Seq(3)));
    store.release_projector(a).await.expect("release");
    assert_eq!(acquire(store, b).await, page.to);
}

pub async fn a_page_without_appends_moves_the_place(store: &dyn Store) {
    let a = register_instance(store).await.id;
    let empty = page(acquire(store, a).await, []);
    assert_eq!(
        project(store, a, &empty).await,
        ProjectionOutcome::Committed
    );
    assert_eq!(acquire(store, a).await, empty.to);
    assert_eq!(store.projector_place().await.expect("a place"), empty.to);
    let end = FeedCursor {
        commit: 90,
        raid: u64::MAX,
        seq: u64::MAX,
    };
    let to_end = ProjectedPage {
        from: empty.to,
        to: end,
        ..ProjectedPage::default()
    };
    let from_end = page(end, []);
    for page in [to_end, from_end] {
        assert_eq!(project(store, a, &page).await, ProjectionOutcome::Committed);
    }
}

pub async fn a_moved_stream_holds_the_place_until_it_is_computed_again(store: &dyn Store) {
    let a = register_instance(store).await.id;
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    let cyd = create_player(store, "Cyd").await;
    let start = acquire(store, a).await;
    let settled = ProjectedPage {
        failed: vec![failed_cause(cyd, cause(1, 1))],
        ..page(start, [])
    };
    project(store, a, &settled).await;
    for player in [ben, cyd] {
        append(store, &stream_append(player, 0, [notified("meanwhile")])).await;
    }
    let mut page = ProjectedPage {
        failed: vec![failed_cause(ada, cause(7, 3))],
        settled: vec![(cyd, cause(1, 1))],
        ..page(
            settled.to,
            [ben, ada, cyd].map(|player| effect(player, 0, cause(7, 1))),
        )
    };
    let outcome = project(store, a, &page).await;
    let ProjectionOutcome::Moved(mut moved) = outcome else {
        panic!("{outcome:?}");
    };
    moved.sort_unstable();
    assert_eq!(moved, [ben, cyd]);
    assert_eq!(load(store, ada, None).await.last_seq, Seq(2));
    for player in [ben, cyd] {
        assert_eq!(load(store, player, None).await.last_seq, Seq(1));
    }
    assert_eq!(acquire(store, a).await, page.from);
    assert_eq!(failed_causes(store).await, settled.failed);

    page.appends = [ben, cyd].map(|of| effect(of, 1, cause(7, 1))).into();
    assert_eq!(project(store, a, &page).await, ProjectionOutcome::Committed);
    for player in [ben, cyd] {
        assert_eq!(load(store, player, None).await.last_seq, Seq(3));
    }
    assert_eq!(acquire(store, a).await, page.to);
    assert_eq!(failed_causes(store).await, page.failed);
}

pub async fn a_page_of_another_place_or_owner_writes_nothing(store: &dyn Store) {
    let a = register_instance(store).await.id;
    let b = register_instance(store).await.id;
    let ada = create_player(store, "Ada").await;
    let start = acquire(store, a).await;
    let first = page(start, []);
    project(store, a, &first).await;
    let failed = vec![failed_cause(ada, cause(7, 1))];
    let places = [
        start,
        FeedCursor {
            commit: first.to.commit + 1,
            ..first.to
        },
        FeedCursor {
            raid: 8,
            ..first.to
        },
        FeedCursor {
            seq: 125,
            ..first.to
        },
    ];
    let of_another_place = places.map(|from| (a, from));
    for (instance, from) in of_another_place.into_iter().chain([(b, first.to)]) {
        let lost = ProjectedPage {
            failed: failed.clone(),
            ..page(from, [effect(ada, 0, cause(7, 2))])
        };
        assert_eq!(
            project(store, instance, &lost).await,
            ProjectionOutcome::Lost
        );
    }
    store.release_projector(a).await.expect("release");
    let released = page(first.to, [effect(ada, 0, cause(7, 2))]);
    assert_eq!(project(store, a, &released).await, ProjectionOutcome::Lost);
    assert_no_stream(store, ada).await;
    assert_eq!(failed_causes(store).await, []);
    assert_eq!(acquire(store, b).await, first.to);
}

pub async fn an_erased_or_missing_player_is_left_out_of_a_page(store: &dyn Store) {
    let a = register_instance(store).await.id;
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    append(store, &stream_append(ada, 0, [notified("old")])).await;
    erase(store, ada).await;
    let missing = player(12_345);
    let page = ProjectedPage {
        failed: [ada, ben, missing]
            .map(|player| failed_cause(player, cause(7, 2)))
            .into(),
        ..page(
            acquire(store, a).await,
            [(ada, 1), (ben, 0), (missing, 0)].map(|(of, after)| effect(of, after, cause(7, 1))),
        )
    };
    assert_eq!(project(store, a, &page).await, ProjectionOutcome::Committed);
    for absent in [ada, missing] {
        assert_no_stream(store, absent).await;
    }
    assert_eq!(stream_events(store, ben).await.len(), 2);
    assert_eq!(failed_causes(store).await, page.failed[1..2]);
    assert_eq!(acquire(store, a).await, page.to);
}

pub async fn a_refused_page_writes_nothing_at_all(store: &dyn Store) {
    let a = register_instance(store).await.id;
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    append(store, &effect(ben, 0, cause(7, 1))).await;
    let start = acquire(store, a).await;
    let repeated_op = page(
        start,
        [effect(ada, 0, cause(7, 1)), effect(ben, 2, cause(7, 1))],
    );
    let repeated_player = page(
        start,
        [effect(ada, 0, cause(7, 1)), effect(ada, 2, cause(7, 2))],
    );
    for page in [repeated_op, repeated_player] {
        let page = ProjectedPage {
            failed: vec![failed_cause(ada, cause(7, 2))],
            ..page
        };
        assert_page_refused(store, a, &page).await;
    }
    assert_no_stream(store, ada).await;
    assert_eq!(load(store, ben, None).await.last_seq, Seq(2));
    assert_eq!(failed_causes(store).await, []);
    assert_eq!(acquire(store, a).await, start);
}

pub async fn failed_causes_keep_their_first_time_until_settled(store: &dyn Store) {
    let a = register_instance(store).await.id;
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    let first = ProjectedPage {
        failed: vec![
            failed_cause(ada, cause(7, 1)),
            failed_cause(ada, cause(7, 2)),
            failed_cause(ben, cause(7, 1)),
        ],
        ..page(acquire(store, a).await, [])
    };
    project(store, a, &first).await;
    assert_eq!(failed_causes(store).await, first.failed);

    let again = FailedCause {
        error: "again".to_owned(),
        failed_at: NOW.plus(5),
        ..failed_cause(ada, cause(7, 1))
    };
    let second = ProjectedPage {
        failed: vec![again],
        settled: vec![(ada, cause(7, 2)), (ben, cause(7, 2)), (ada, cause(8, 1))],
        ..page(first.to, [effect(ada, 0, cause(7, 2))])
    };
    project(store, a, &second).await;
    let tried_again = FailedCause {
        error: "again".to_owned(),
        ..failed_cause(ada, cause(7, 1))
    };
    let left = [tried_again, failed_cause(ben, cause(7, 1))];
    assert_eq!(failed_causes(store).await, left);

    let twice = ProjectedPage {
        failed: [ben, ben]
            .map(|player| failed_cause(player, cause(9, 1)))
            .into(),
        ..page(second.to, [])
    };
    assert_page_refused(store, a, &twice).await;
}

pub async fn failed_causes_come_in_pages_of_whole_players(store: &dyn Store) {
    let a = register_instance(store).await.id;
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    let cyd = create_player(store, "Cyd").await;
    let all = [
        (ada, cause(2, 9)),
        (ada, cause(7, 1)),
        (ada, cause(7, 10)),
        (ben, cause(1, 1)),
        (cyd, cause(7, 1)),
        (cyd, cause(7, 2)),
    ]
    .map(|(player, cause)| failed_cause(player, cause));
    let mut failed = all.to_vec();
    failed.reverse();
    let page = ProjectedPage {
        failed,
        ..page(acquire(store, a).await, [])
    };
    project(store, a, &page).await;
    assert_eq!(failed_causes(store).await, all);
    let read = async |after, limit| {
        let page = store.failed_causes(after, limit).await;
        page.expect("failed causes")
    };
    assert_eq!(read(None, 1).await, all[..3]);
    assert_eq!(read(Some(ada), 1).await, all[3..4]);
    assert_eq!(read(Some(ada), 2).await, all[3..]);
    assert_eq!(read(Some(cyd), 2).await, []);
}

/// Creates two players, and records a failed cause of each.
async fn create_failed_causes(store: &dyn Store) -> [FailedCause; 2] {
    let a = register_instance(store).await.id;
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    let failed = [ada, ben].map(|player| failed_cause(player, cause(7, 1)));
    let page = ProjectedPage {
        failed: failed.to_vec(),
        ..page(acquire(store, a).await, [])
    };
    project(store, a, &page).await;
    assert_eq!(failed_causes(store).await, failed);
    failed
}

pub async fn an_erasure_deletes_the_players_failed_causes(store: &dyn Store) {
    let failed = create_failed_causes(store).await;
    erase(store, failed[0].player).await;
    assert_eq!(failed_causes(store).await, failed[1..]);
    store.end_erasure(failed[0].player).await.expect("end");
    assert_eq!(failed_causes(store).await, failed[1..]);
}

pub async fn the_failed_causes_of_a_deleted_guest_are_deleted(store: &dyn Store) {
    const LATER: UnixMillis = UnixMillis(4_000_000_000_000);
    let failed = create_failed_causes(store).await;
    let linked = store.link_identity(failed[1].player, "app:1").await;
    linked.expect("link");
    let deleted = store.delete_unused_guests(None, 10, LATER, LATER).await;
    assert_eq!(deleted.expect("a batch").count, 1);
    assert_eq!(failed_causes(store).await, failed[1..]);
}

pub async fn ops_are_found_in_the_streams_of_their_players(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    append(store, &effect(ada, 0, cause(7, 1))).await;
    append(store, &effect(ada, 2, cause(7, 2))).await;
    append(store, &effect(ben, 0, cause(7, 2))).await;
    let key = |of: &(PlayerId, RaidPlace)| (of.0, OpHash::from_cause(of.1));
    let present = [(ada, cause(7, 1)), (ada, cause(7, 2)), (ben, cause(7, 2))];
    let absent = [
        (ben, cause(7, 1)),
        (ada, cause(8, 1)),
        (player(12_345), cause(7, 1)),
    ];
    let asked: Vec<_> = absent.iter().chain(&present).map(key).collect();
    let mut found = store.find_stream_ops(&asked).await.expect("find");
    found.sort_unstable();
    let mut expected: Vec<_> = present.iter().map(key).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(store.find_stream_ops(&[]).await.expect("find"), []);
}

pub async fn several_streams_are_loaded_as_each_alone(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    let cyd = create_player(store, "Cyd").await;
    let dot = create_player(store, "Dot").await;
    append(store, &effect(ada, 0, cause(7, 1))).await;
    let mut later = effect(ada, 2, cause(7, 2));
    later.state = None;
    append(store, &later).await;
    append(store, &effect(cyd, 0, cause(7, 1))).await;
    append(store, &effect(dot, 0, cause(7, 1))).await;
    erase(store, dot).await;
    let asked = [cyd, player(12_345), ada, dot, ben];
    let mut loaded = store.load_streams(&asked).await.expect("load");
    loaded.sort_unstable_by_key(|(player, _)| *player);
    let mut alone = Vec::new();
    for player in [ada, ben, cyd] {
        alone.push((player, load(store, player, None).await));
    }
    assert_eq!(loaded, alone);
    assert_eq!(loaded[0].1.tail, events_of(&later));
    assert_eq!(store.load_streams(&[]).await.expect("load"), []);
}
