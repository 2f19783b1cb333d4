//! Handover of raids by a node that drains.

use super::*;
use crate::session::RaidCreator;
use crate::store::Ownership;

#[tokio::test(start_paused = true)]
async fn a_drained_node_hands_its_raids_over_without_presence_changes() {
    let cluster = TestCluster::start(3).await;
    let raid = cluster.node(0).create_raid(&[2, 3]).await;
    let (mut first, _) = watch(cluster.node(0), raid, 1, None).await;
    let (mut second, _) = watch(cluster.node(0), raid, 2, None).await;
    let (mut third, _) = watch(cluster.node(1), raid, 3, None).await;
    sleep(Duration::from_secs(1)).await;
    for watcher in [&first, &second, &third] {
        watcher.take_presence();
    }
    let began = Instant::now();
    cluster.node(0).sessions.hand_over_all().await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    // Clients that are still connected to the drained node go through it, as through a follower.
    let ack = cluster.say(0, raid, "through", "a").await.expect("said");
    assert_eq!(ack.seq, Seq(6));
    for watcher in [&mut first, &mut second, &mut third] {
        assert_eq!(wait_for_events(watcher, 1).await, [6]);
    }
    // The clients are let go one after the other, and reconnect to other nodes.
    first.leave();
    sleep(Duration::from_secs(1)).await;
    second.leave();
    sleep(Duration::from_secs(1)).await;
    let (mut first, answer) = watch(cluster.node(2), raid, 1, Some(6)).await;
    assert!(matches!(
        answer,
        ServerMessage::Watching {
            recovered: true,
            ..
        }
    ));
    assert_eq!(online_players(&answer), [1, 2, 3]);
    cluster.node(0).kill();
    sleep(Duration::from_secs(4)).await;
    let (_second, answer) = watch(cluster.node(1), raid, 2, Some(6)).await;
    assert_eq!(online_players(&answer), [1, 2, 3]);
    cluster.say(2, raid, "after", "b").await.expect("said");
    assert_eq!(wait_for_events(&mut first, 1).await, [7]);
    sleep(Duration::from_secs(70)).await;
    for watcher in [&first, &third] {
        assert_eq!(
            watcher.take_presence(),
            [],
            "no presence change without a player's action"
        );
    }
    assert_eq!(cluster.leader_change_reasons(raid).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_the_only_watched_node_keeps_presence() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (first, _) = watch(cluster.node(0), raid, 1, None).await;
    let (second, _) = watch(cluster.node(0), raid, 2, None).await;
    sleep(Duration::from_secs(1)).await;
    cluster.node(0).sessions.hand_over_all().await;
    first.leave();
    second.leave();
    cluster.node(0).tasks.stop_background.cancel();
    sleep(Duration::from_secs(2)).await;
    cluster.node(0).kill();
    let (first, answer) = watch(cluster.node(1), raid, 1, Some(4)).await;
    assert_eq!(online_players(&answer), [1, 2]);
    let (_second, answer) = watch(cluster.node(1), raid, 2, Some(4)).await;
    assert_eq!(online_players(&answer), [1, 2]);
    assert_eq!(presence_within(&first, Duration::from_secs(30)).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_successor_takes_over_a_raid_that_it_already_follows() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (mut first, _) = watch(cluster.node(0), raid, 1, None).await;
    cluster
        .say(1, raid, "makes a follower", "a")
        .await
        .expect("said");
    cluster.node(0).sessions.hand_over_all().await;
    let began = Instant::now();
    let ack = cluster.say(0, raid, "on", "b").await.expect("said");
    assert!(
        began.elapsed() < Duration::from_millis(500),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(ack.seq, Seq(6));
    assert_eq!(wait_for_events(&mut first, 2).await, [5, 6]);
    let head = cluster
        .store
        .head(raid)
        .await
        .expect("read")
        .expect("a raid");
    assert_eq!(head.owner, Some(cluster.node(1).record().id));
    let (_second, answer) = watch(cluster.node(1), raid, 2, None).await;
    assert_eq!(
        online_players(&answer),
        [1, 2],
        "the successor knows the players who were online"
    );
}

#[tokio::test(start_paused = true)]
async fn a_raid_that_reloads_during_a_drain_is_still_handed_over() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (_first, _) = watch(cluster.node(0), raid, 1, None).await;
    cluster.node(0).store.faults().stall_calls(Call::Commit, 1);
    let pending = cluster.node(0).submit(raid, "stalled", Some("a"));
    let sessions = cluster.node(0).sessions.clone();
    let handing_over = tokio::spawn(async move { sessions.hand_over_all().await });
    sleep(Duration::from_millis(100)).await;
    cluster.node(0).store.faults().set_unreachable(true);
    sleep(Duration::from_millis(2_200)).await;
    cluster.node(0).store.faults().drop_stalled();
    cluster.node(0).store.faults().set_unreachable(false);
    assert_eq!(pending.answer().await, Err(Error::Unavailable));
    timeout(Duration::from_secs(5), handing_over)
        .await
        .expect("ends")
        .expect("no panic");
    let ack = cluster.say(1, raid, "on", "b").await.expect("said");
    assert!(!ack.duplicate, "{ack:?}");
    let head = cluster
        .store
        .head(raid)
        .await
        .expect("read")
        .expect("a raid");
    assert_eq!(head.owner, Some(cluster.node(1).record().id));
}

#[tokio::test(start_paused = true)]
async fn a_handover_that_the_successor_missed_is_repeated_with_presence() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (leaving, _) = watch(cluster.node(0), raid, 1, None).await;
    cluster.broker.set_fault(Some(BusFault::DropEveryNth(1)));
    let sessions = cluster.node(0).sessions.clone();
    let handing_over = tokio::spawn(async move { sessions.hand_over_all().await });
    sleep(Duration::from_millis(200)).await;
    assert!(
        !handing_over.is_finished(),
        "no instance has claimed it yet"
    );
    cluster.broker.set_fault(None);
    timeout(Duration::from_secs(1), handing_over)
        .await
        .expect("ends")
        .expect("no panic");
    leaving.leave();
    let head = cluster
        .store
        .head(raid)
        .await
        .expect("read")
        .expect("a raid");
    assert_eq!(head.owner, Some(cluster.node(1).record().id));
    let (_second, answer) = watch(cluster.node(1), raid, 2, None).await;
    assert_eq!(online_players(&answer), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_raid_without_a_live_successor_is_released() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (_leaving, _) = watch(cluster.node(0), raid, 1, None).await;
    // The killed node counts as live until its lease runs out.
    cluster.node(1).kill();
    timeout(
        Duration::from_secs(5),
        cluster.node(0).sessions.hand_over_all(),
    )
    .await
    .expect("ends");
    let head = cluster
        .store
        .head(raid)
        .await
        .expect("read")
        .expect("a raid");
    assert_eq!(head.owner, None);
}

#[tokio::test(start_paused = true)]
async fn a_raid_being_created_does_not_delay_a_drain() {
    let cluster = TestCluster::start(2).await;
    let node = cluster.node(0);
    node.store.faults().hold_calls(Call::ReserveRaidIds);
    let sessions = node.sessions.clone();
    let creation = tokio::spawn(async move {
        sessions
            .create(player_ref(1), new_raid(), None, RaidCreator::Leader)
            .await
    });
    sleep(Duration::from_millis(10)).await;
    let sessions = node.sessions.clone();
    let drain = tokio::spawn(async move { sessions.hand_over_all().await });
    sleep(Duration::from_millis(10)).await;
    node.store.faults().release_calls(Call::ReserveRaidIds);
    assert_eq!(creation.await.expect("no panic"), Err(Error::Unavailable));
    timeout(Duration::from_secs(1), drain)
        .await
        .expect("soon")
        .expect("no panic");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(
        (
            node.sessions.live_count(),
            *node.sessions.owned_count.borrow()
        ),
        (0, 0),
        "no session and no owned raid is left"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handover_whose_release_fails_at_first_keeps_presence() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (first, _) = watch(cluster.node(0), raid, 1, None).await;
    let (second, _) = watch(cluster.node(0), raid, 2, None).await;
    sleep(Duration::from_secs(1)).await;
    cluster.node(0).store.faults().fail_calls(Call::Release, 3);
    timeout(
        Duration::from_secs(5),
        cluster.node(0).sessions.hand_over_all(),
    )
    .await
    .expect("in the end");
    first.leave();
    second.leave();
    cluster.node(0).kill();
    let (first, answer) = watch(cluster.node(1), raid, 1, Some(4)).await;
    assert_eq!(
        online_players(&answer),
        [1, 2],
        "the successor knows the players who were online"
    );
    let (_second, _) = watch(cluster.node(1), raid, 2, Some(4)).await;
    assert_eq!(presence_within(&first, Duration::from_secs(30)).await, []);
}

#[tokio::test(start_paused = true)]
async fn raids_are_offered_past_a_node_that_the_bus_does_not_reach() {
    let cluster = TestCluster::start(3).await;
    let mut raids = Vec::new();
    let mut watchers = Vec::new();
    for _ in 0..8 {
        let raid = cluster.node(0).create_raid(&[2]).await;
        watchers.push(watch(cluster.node(0), raid, 1, None).await);
        raids.push(raid);
    }
    let cut_off = cluster.node(2).bus.as_ref().expect("a bus");
    cut_off.set_disconnected(true);
    let began = Instant::now();
    cluster.node(0).sessions.hand_over_all().await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    for raid in raids {
        let head = cluster.node(1).store.head(raid).await.expect("a head");
        let owner = head.expect("a raid").owner;
        assert_eq!(owner, Some(cluster.node(1).record().id));
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_doubles_the_grace_of_the_players_it_disconnects() {
    let cluster = TestCluster::start(3).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (leaving, _) = watch(cluster.node(0), raid, 1, None).await;
    let (staying, _) = watch(cluster.node(1), raid, 2, None).await;
    sleep(Duration::from_secs(1)).await;
    staying.take_presence();
    cluster.node(0).sessions.hand_over_all().await;
    leaving.leave();
    let early = presence_within(&staying, Duration::from_secs(9)).await;
    assert_eq!(early, [], "within twice the grace of 5 s");
    let late = presence_within(&staying, Duration::from_secs(4)).await;
    assert!(late.iter().any(has_offline_players), "{late:?}");
}
