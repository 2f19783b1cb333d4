//! Presence as seen from several instances.

use std::collections::BTreeSet;

use super::*;
use crate::cluster::message::WatcherReport;
use crate::store::Ownership;

#[tokio::test(start_paused = true)]
async fn presence_is_the_same_at_every_instance() {
    let cluster = TestCluster::start(3).await;
    let raid = cluster.node(0).create_raid(&[2, 3]).await;
    let (first, _) = watch(cluster.node(0), raid, 1, None).await;
    // Presence changes are collected for 100 ms before they are announced.
    sleep(Duration::from_millis(150)).await;
    let (second, answer) = watch(cluster.node(1), raid, 2, None).await;
    assert_eq!(online_players(&answer), [1, 2]);
    sleep(Duration::from_millis(150)).await;
    let (third, answer) = watch(cluster.node(2), raid, 3, None).await;
    assert_eq!(online_players(&answer), [1, 2, 3]);
    sleep(Duration::from_millis(500)).await;
    first.take_presence();
    second.take_presence();
    third.take_presence();
    third.leave();
    let begun = Instant::now();
    let messages = loop {
        let messages = [first.take_presence(), second.take_presence()];
        if messages
            .iter()
            .all(|received| received.iter().any(has_offline_players))
        {
            break messages;
        }
        sleep(Duration::from_millis(10)).await;
        assert!(begun.elapsed() < Duration::from_secs(8), "{messages:?}");
    };
    assert!(
        begun.elapsed() >= Duration::from_secs(5),
        "{messages:?} after {:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_follower_whose_last_report_was_lost_is_asked_for_another() {
    let cluster = TestCluster::start_with(
        2,
        Options {
            idle_timeout: Duration::from_secs(20),
            ..options()
        },
    )
    .await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (owner_watcher, _) = watch(cluster.node(0), raid, 1, None).await;
    let (follower_watcher, _) = watch(cluster.node(1), raid, 2, None).await;
    sleep(Duration::from_secs(1)).await;
    owner_watcher.take_presence();
    cluster.broker.set_fault(Some(BusFault::DropEveryNth(1)));
    follower_watcher.leave();
    sleep(Duration::from_millis(10)).await;
    cluster.broker.set_fault(None);
    let messages = presence_within(&owner_watcher, Duration::from_secs(15)).await;
    assert!(messages.iter().any(has_offline_players), "{messages:?}");
    owner_watcher.leave();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(
        (
            cluster.node(0).sessions.live_count(),
            cluster.node(1).sessions.live_count()
        ),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn an_owner_with_a_full_mailbox_still_takes_watcher_reports() {
    let cluster = TestCluster::start_with(
        2,
        Options {
            mailbox_messages_max: 2,
            ..options()
        },
    )
    .await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (owner_watcher, _) = watch(cluster.node(0), raid, 1, None).await;
    sleep(Duration::from_millis(150)).await;
    owner_watcher.take_presence();
    let mut answers = ["a", "b", "c"].map(|text| cluster.node(0).submit(raid, text, None));
    assert_eq!(answers[2].try_answer(), Some(Err(Error::Overloaded)));
    let report = WatcherReport {
        watched: true,
        players: vec![player(2)],
        ..WatcherReport::default()
    };
    let sender = cluster.node(1).record().id;
    let owner = &cluster.node(0).sessions;
    owner.receive_watcher_report(raid, sender, 99, Seq(3), report);
    let messages = presence_within(&owner_watcher, Duration::from_secs(1)).await;
    let shows_player = |message: &ServerMessage| matches!(message, ServerMessage::Presence { online, .. } if online.contains(&player(2)));
    assert!(messages.iter().any(shows_player), "{messages:?}");
}

#[tokio::test(start_paused = true)]
async fn a_read_or_refused_watch_at_a_follower_keeps_no_session_live() {
    let cluster = TestCluster::start_with(
        2,
        Options {
            idle_timeout: Duration::from_secs(20),
            ..options()
        },
    )
    .await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (owner_watcher, _) = watch(cluster.node(0), raid, 1, None).await;
    cluster
        .say(1, raid, "makes a follower", "a")
        .await
        .expect("said");
    cluster
        .node(1)
        .sessions
        .read(raid, Caller::Player(player(2)))
        .await
        .expect("seen");
    let mut stranger = cluster.node(1).watch(raid, 9, None);
    assert!(matches!(
        stranger.watch_answer().await,
        Err(Error::Refused(_))
    ));
    owner_watcher.leave();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(
        (
            cluster.node(0).sessions.live_count(),
            cluster.node(1).sessions.live_count()
        ),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_successor_shows_no_player_who_left_before_the_handover() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[3]).await;
    let (first, _) = watch(cluster.node(0), raid, 1, None).await;
    let (third, _) = watch(cluster.node(1), raid, 3, None).await;
    sleep(Duration::from_secs(2)).await;
    third.leave();
    sleep(Duration::from_secs(30)).await;
    drop(first.take_presence());
    cluster.node(0).sessions.hand_over_all().await;
    assert_eq!(presence_within(&first, Duration::from_secs(30)).await, []);
    let head = cluster
        .store
        .head(raid)
        .await
        .expect("read")
        .expect("a raid");
    assert_eq!(head.owner, Some(cluster.node(1).record().id));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_begins_again_after_the_owners_death_hides_no_player() {
    let cluster = TestCluster::start(3).await;
    let raid = cluster.node(0).create_raid(&[2, 3]).await;
    let (second, _) = watch(cluster.node(1), raid, 2, None).await;
    let (_third, _) = watch(cluster.node(2), raid, 3, None).await;
    sleep(Duration::from_secs(1)).await;
    cluster.node(0).kill();
    second.leave();
    sleep(Duration::from_millis(500)).await;
    let (_second, answer) = watch(cluster.node(1), raid, 2, None).await;
    assert_eq!(online_players(&answer), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_begins_after_the_grace_is_told_who_goes_offline() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2, 3]).await;
    let (first, _) = watch(cluster.node(0), raid, 1, None).await;
    let (second, _) = watch(cluster.node(1), raid, 2, None).await;
    sleep(Duration::from_secs(1)).await;
    // The owner does not learn that the watch ends and begins again: the new one waits for presence
    // until the grace since the end of the last one is over.
    cluster.broker.set_fault(Some(BusFault::DropEveryNth(1)));
    second.leave();
    sleep(Duration::from_millis(4_500)).await;
    let mut second = cluster.node(1).watch(raid, 2, None);
    sleep(Duration::from_millis(600)).await;
    // The next message follows at once.
    cluster.broker.set_fault(Some(BusFault::Duplicate));
    let (_third, _) = watch(cluster.node(0), raid, 3, None).await;
    let answer = second.watch_answer().await.expect("watches");
    assert_eq!(online_players(&answer), [1, 2, 3]);
    first.leave();
    let messages = presence_within(&second, Duration::from_secs(8)).await;
    assert!(messages.iter().any(has_offline_players), "{messages:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_who_returns_during_a_store_outage_keeps_the_lead() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2, 3]).await;
    let (leader, _) = watch(cluster.node(0), raid, 1, None).await;
    let (_second, _) = watch(cluster.node(0), raid, 2, None).await;
    let (_third, _) = watch(cluster.node(1), raid, 3, None).await;
    leader.leave();
    // The leader is offline after 5 s, and would lose the lead at 65 s.
    sleep(Duration::from_secs(57)).await;
    for node in &cluster.nodes {
        node.store.faults().set_unreachable(true);
    }
    sleep(Duration::from_secs(4)).await;
    let (_leader, _) = watch(cluster.node(1), raid, 1, None).await;
    sleep(Duration::from_millis(4_500)).await;
    for node in &cluster.nodes {
        node.store.faults().set_unreachable(false);
    }
    sleep(Duration::from_secs(90)).await;
    assert_eq!(cluster.leader_change_reasons(raid).await, []);
}

/// Returns who is online by the presence messages, in their order.
fn fold_presence(messages: &[ServerMessage]) -> BTreeSet<u64> {
    let mut shown = BTreeSet::new();
    for message in messages {
        let ServerMessage::Presence {
            online, offline, ..
        } = message
        else {
            panic!("not presence: {message:?}");
        };
        shown.extend(online.iter().map(|player| player.get()));
        shown.retain(|shown| !offline.iter().any(|player| player.get() == *shown));
    }
    shown
}

#[tokio::test(start_paused = true)]
async fn presence_that_was_overtaken_changes_nothing() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2, 3, 4, 5]).await;
    let (watcher, _) = watch(cluster.node(1), raid, 2, None).await;
    sleep(Duration::from_secs(1)).await;
    cluster.broker.set_fault(Some(BusFault::Reorder));
    let mut present = Vec::new();
    for by in [3, 4, 5, 1] {
        present.push(watch(cluster.node(0), raid, by, None).await.0);
        // Presence changes are collected for 100 ms before they are announced.
        sleep(Duration::from_millis(150)).await;
    }
    sleep(Duration::from_secs(1)).await;
    let shown = fold_presence(&watcher.take_presence());
    assert!(
        shown.is_superset(&BTreeSet::from([1, 3, 4, 5])),
        "{shown:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_successor_learns_who_is_online_from_the_handover_alone() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (leaving, _) = watch(cluster.node(0), raid, 1, None).await;
    sleep(Duration::from_secs(1)).await;
    leaving.leave();
    let successor = cluster.node(1);
    let faults = successor.store.faults();
    faults.stall_answers(Call::Claim, 1);
    let sessions = cluster.node(0).sessions.clone();
    let handing_over = tokio::spawn(async move { sessions.hand_over_all().await });
    while faults.stalled_count() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    cluster.node(0).kill();
    handing_over.abort();
    faults.apply_stalled().await;
    let caller = Caller::Player(player(2));
    let view = successor.sessions.read(raid, caller).await.expect("seen");
    assert_eq!(view.online, [player(1)]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_without_a_bus_takes_no_player_offline() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (owner_watcher, _) = watch(cluster.node(0), raid, 1, None).await;
    let (moving, _) = watch(cluster.node(0), raid, 2, None).await;
    sleep(Duration::from_secs(1)).await;
    owner_watcher.take_presence();
    let bus = cluster.node(0).bus.as_ref().expect("a bus");
    bus.set_disconnected(true);
    moving.leave();
    // The owner does not learn of this watch.
    let _moved = cluster.node(1).watch(raid, 2, None);
    let messages = presence_within(&owner_watcher, Duration::from_secs(60)).await;
    assert_eq!(messages, []);
}
