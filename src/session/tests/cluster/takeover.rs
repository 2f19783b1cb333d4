//! Ownership of a raid when its owner dies, is suspended or is cut off.

use super::*;
use crate::clock::BootInstant;
use crate::cluster::client::MessageHeader;
use crate::cluster::message::ClusterMessage;
use crate::store::{Epoch, Leases, Ownership};

#[tokio::test(start_paused = true)]
async fn a_follower_takes_over_a_dead_owners_raid_within_four_seconds() {
    let cluster = TestCluster::start(3).await;
    let raid = cluster.node(0).create_raid(&[2, 3]).await;
    let _gone = watch(cluster.node(0), raid, 1, None).await;
    let (mut here, _) = watch(cluster.node(1), raid, 2, None).await;
    let (mut there, _) = watch(cluster.node(2), raid, 3, None).await;
    cluster.say(1, raid, "before", "a").await.expect("said");
    cluster.node(0).kill();
    let began = Instant::now();
    let ack = cluster
        .say(1, raid, "after", "b")
        .await
        .expect("waits until there is an owner");
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        ack,
        Ack {
            seq: Seq(7),
            duplicate: false
        }
    );
    assert_eq!(
        cluster.say(2, raid, "before", "a").await,
        Ok(Ack {
            seq: Seq(6),
            duplicate: true
        })
    );
    for watcher in [&mut here, &mut there] {
        assert_eq!(
            wait_for_events(watcher, 2).await,
            [6, 7],
            "no client was disconnected, no event is missing"
        );
    }
    assert_eq!(cluster.chat_messages(raid).await, ["before", "after"]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_cut_off_from_the_store_becomes_a_follower() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (mut first, _) = watch(cluster.node(0), raid, 1, None).await;
    let (mut second, _) = watch(cluster.node(1), raid, 2, None).await;
    cluster.node(0).store.faults().set_unreachable(true);
    let ack = cluster
        .say(1, raid, "meanwhile", "a")
        .await
        .expect("taken over");
    assert_eq!(ack.seq, Seq(5));
    cluster.node(0).store.faults().set_unreachable(false);
    assert_eq!(wait_for_events(&mut second, 1).await, [5]);
    assert_eq!(
        wait_for_events(&mut first, 1).await,
        [5],
        "its watchers stayed connected"
    );
    let ack = cluster.say(0, raid, "again", "b").await.expect("forwarded");
    assert_eq!(ack.seq, Seq(6));
    assert_eq!(wait_for_events(&mut first, 1).await, [6]);
}

#[tokio::test(start_paused = true)]
async fn a_store_stall_changes_no_owner_and_no_epoch() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (mut first, _) = watch(cluster.node(0), raid, 1, None).await;
    let (mut second, _) = watch(cluster.node(1), raid, 2, None).await;
    let epoch = cluster
        .store
        .head(raid)
        .await
        .expect("read")
        .expect("a raid")
        .epoch;
    for node in &cluster.nodes {
        node.store.faults().set_unreachable(true);
    }
    sleep(Duration::from_secs(10)).await;
    for node in &cluster.nodes {
        node.store.faults().set_unreachable(false);
    }
    sleep(Duration::from_secs(2)).await;
    cluster.say(1, raid, "on", "a").await.expect("said");
    for watcher in [&mut first, &mut second] {
        assert_eq!(wait_for_events(watcher, 1).await, [5]);
    }
    let head = cluster
        .store
        .head(raid)
        .await
        .expect("read")
        .expect("a raid");
    assert_eq!(
        (head.epoch, head.owner),
        (epoch, Some(cluster.node(0).record().id)),
        "the raid did not even reload"
    );
}

#[tokio::test(start_paused = true)]
async fn a_raid_is_released_only_when_no_instance_watches_it() {
    let cluster = TestCluster::start_with(
        2,
        Options {
            idle_timeout: Duration::from_secs(20),
            ..options()
        },
    )
    .await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (follower_watcher, _) = watch(cluster.node(1), raid, 2, None).await;
    sleep(Duration::from_secs(300)).await;
    assert_eq!(
        (
            cluster.node(0).sessions.live_count(),
            cluster.node(1).sessions.live_count()
        ),
        (1, 1)
    );
    follower_watcher.leave();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(
        (
            cluster.node(0).sessions.live_count(),
            cluster.node(1).sessions.live_count()
        ),
        (0, 0)
    );
    cluster.node(0).sessions.release_idle().await;
    let head = cluster
        .store
        .head(raid)
        .await
        .expect("read")
        .expect("a raid");
    assert_eq!(head.owner, None);
    assert_eq!(
        (
            cluster.node(0).tasks.sessions.task_count(),
            cluster.node(1).tasks.sessions.task_count()
        ),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn many_raids_of_a_dead_node_are_taken_over_once_each() {
    let cluster = TestCluster::start(3).await;
    let mut raids = Vec::new();
    for _ in 0..100 {
        raids.push(cluster.node(0).create_raid(&[2, 3]).await);
    }
    let mut watchers = Vec::new();
    for raid in &raids {
        watchers.push(watch(cluster.node(1), *raid, 2, None).await.0);
        watchers.push(watch(cluster.node(2), *raid, 3, None).await.0);
    }
    cluster.node(0).kill();
    sleep(Duration::from_secs(5)).await;
    let heads = cluster.store.heads(&raids).await.expect("read");
    let one = cluster.node(1).record().id;
    let two = cluster.node(2).record().id;
    for (raid, head) in heads {
        assert!(
            head.owner == Some(one) || head.owner == Some(two),
            "{raid} has {:?}",
            head.owner
        );
        assert_eq!(head.epoch.0, 2, "claimed once");
    }
    for (raid, number) in raids.iter().zip(0..) {
        cluster
            .say(1 + number % 2, *raid, "on", "a")
            .await
            .expect("said");
    }
    for watcher in &mut watchers {
        assert_eq!(wait_for_events(watcher, 1).await, [6]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_suspended_with_its_clock_finds_its_raid_taken_over() {
    let cluster = TestCluster::start(1).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (_first, _) = watch(cluster.node(0), raid, 1, None).await;
    // The machine is suspended for a minute. Meanwhile another instance registers and claims the
    // raid.
    cluster.store.set_now(cluster.store.now().plus(60_000));
    let ws_url = "ws://127.0.0.1:9/api/v1/ws".to_owned();
    let next = InstanceRecord {
        id: InstanceId(Uuid::now_v7()),
        ws_url,
        release: "test".into(),
        draining: false,
    };
    cluster
        .store
        .register(&next, Duration::from_secs(600), Duration::ZERO)
        .await
        .expect("registered");
    let claims = cluster
        .store
        .claim(&[raid], next.id)
        .await
        .expect("claimed");
    assert!(
        matches!(claims[..], [ClaimOutcome::Acquired(_)]),
        "{claims:?}"
    );
    sleep(Duration::from_secs(2)).await;
    let snapshot = cluster
        .node(0)
        .sessions
        .read(raid, Caller::Player(player(1)))
        .await
        .expect("seen");
    assert_eq!(
        snapshot.ws_url,
        Some(next.ws_url),
        "it knows the raid's owner"
    );
}

#[tokio::test(start_paused = true)]
async fn a_raid_of_a_newer_release_moves_to_an_instance_that_can_own_it() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (mut first, _) = watch(cluster.node(0), raid, 1, None).await;
    cluster.node(0).sessions.mark_follow_only(raid);
    cluster.say(0, raid, "on", "a").await.expect("forwarded");
    assert_eq!(
        wait_for_events(&mut first, 1).await,
        [5],
        "its watchers stay"
    );
    let head = cluster
        .store
        .head(raid)
        .await
        .expect("read")
        .expect("a raid");
    assert_eq!(head.owner, Some(cluster.node(1).record().id));
}

#[tokio::test(start_paused = true)]
async fn a_client_ahead_of_a_superseded_owner_makes_it_reload() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    // The former owner does not learn that the raid has another one.
    let bus = cluster.node(0).bus.as_ref().expect("a bus");
    bus.set_disconnected(true);
    cluster.node(0).store.fence(raid);
    let ack = cluster.say(1, raid, "elsewhere", "a").await.expect("said");
    assert_eq!(ack.seq, Seq(5));
    let answer = cluster.node(0).watch(raid, 2, Some(5)).watch_answer().await;
    assert!(
        matches!(answer, Ok(ServerMessage::Watching { seq: Seq(5), .. })),
        "{answer:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_raid_that_another_instance_claims_while_it_loads_is_not_served() {
    let cluster = TestCluster::start(3).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    cluster.node(0).kill();
    let faults = cluster.node(1).store.faults();
    faults.hold_calls(Call::Load);
    let commits = faults.call_count(Call::Commit);
    let pending = cluster.node(1).submit(raid, "waits", Some("a"));
    let store = cluster.store.new_connection();
    let claimed = wait_for_owner(&store, raid, cluster.node(1).record().id).await;
    let claim = [(raid, claimed)];
    let released = store.release(&claim, cluster.node(1).record().id);
    released.await.expect("released");
    let other = cluster.node(2).record().id;
    store.claim(&[raid], other).await.expect("claimed");
    faults.release_calls(Call::Load);
    assert_eq!(pending.answer().await.expect("said").seq, Seq(5));
    assert_eq!(faults.call_count(Call::Commit), commits, "it is no owner");
}

/// Waits until the store says that an instance owns the raid, and returns the epoch.
async fn wait_for_owner(store: &Faulty<MemoryStore>, raid: RaidId, owner: InstanceId) -> Epoch {
    let owned = async {
        loop {
            let head = store.head(raid).await.expect("read").expect("a raid");
            if head.owner == Some(owner) {
                return head.epoch;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), owned)
        .await
        .expect("claims it")
}

#[tokio::test(start_paused = true)]
async fn a_release_by_a_former_owner_changes_nothing() {
    let cluster = TestCluster::start(3).await;
    let raid = cluster.node(0).create_raid(&[2, 3]).await;
    let _watchers = [
        watch(cluster.node(1), raid, 2, None).await,
        watch(cluster.node(2), raid, 3, None).await,
    ];
    cluster.node(0).sessions.hand_over_all().await;
    sleep(Duration::from_secs(1)).await;
    let head = cluster.store.head(raid).await.expect("read");
    let head = head.expect("a raid");
    let nodes = [cluster.node(1), cluster.node(2)];
    let claims = || nodes.map(|node| node.store.faults().call_count(Call::Claim));
    let before = claims();
    let late = MessageHeader {
        raid,
        epoch: Epoch(head.epoch.0 - 1),
        seq: head.last_seq,
    };
    let former = &cluster.node(0).sessions.cluster;
    former.broadcast(late, ClusterMessage::Released);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(claims(), before, "the raid has an owner");
    cluster.say(2, raid, "on", "a").await.expect("said");
    assert_eq!(claims(), before);
}

#[tokio::test(start_paused = true)]
async fn a_claim_from_before_a_gap_of_the_lease_serves_nothing() {
    let cluster = TestCluster::start(3).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    cluster.node(0).kill();
    // By then its lease has run out, so the first claim succeeds.
    sleep(Duration::from_secs(30)).await;
    let claimant = cluster.node(1);
    let faults = claimant.store.faults();
    faults.stall_answers(Call::Claim, 1);
    let _watcher = claimant.watch(raid, 2, None);
    let store = cluster.store.new_connection();
    let claimed = wait_for_owner(&store, raid, claimant.record().id).await;
    let claim = [(raid, claimed)];
    let released = store.release(&claim, claimant.record().id);
    released.await.expect("released");
    cluster.say(2, raid, "claims", "a").await.expect("said");
    let lease = claimant.lease();
    lease.renew(BootInstant::now(), Duration::ZERO, false);
    claimant.wait_for_lease().await;
    let bus = claimant.bus.as_ref().expect("a bus");
    bus.set_disconnected(true);
    let loads = faults.call_count(Call::Load);
    faults.apply_stalled().await;
    while faults.call_count(Call::Load) == loads {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_millis(1)).await;
    cluster.say(2, raid, "later", "b").await.expect("said");
    let caller = Caller::Player(player(2));
    let view = claimant.sessions.read(raid, caller).await.expect("seen");
    assert_eq!(view.seq, Seq(6));
}
