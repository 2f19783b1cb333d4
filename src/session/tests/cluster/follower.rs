//! What an instance serves of a raid that another instance owns.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::raid::Refusal;

#[tokio::test(start_paused = true)]
async fn a_command_and_a_watch_work_at_every_instance() {
    let cluster = TestCluster::start(3).await;
    let raid = cluster.node(0).create_raid(&[2, 3]).await;
    let mut watchers = Vec::new();
    for (node, by) in [(0, 1), (1, 2), (2, 3)] {
        watchers.push(watch(cluster.node(node), raid, by, None).await.0);
    }
    for node in 0..3 {
        let ack = cluster
            .say(node, raid, &format!("from {node}"), &format!("op-{node}"))
            .await
            .expect("said");
        assert_eq!(
            ack,
            Ack {
                seq: Seq(5 + node as u64 + 1),
                duplicate: false
            }
        );
        let again = cluster
            .say((node + 1) % 3, raid, "again", &format!("op-{node}"))
            .await
            .expect("said");
        assert_eq!(
            again,
            Ack {
                duplicate: true,
                ..ack
            },
            "the op is known at every instance"
        );
    }
    for watcher in &mut watchers {
        assert_eq!(wait_for_events(watcher, 3).await, [6, 7, 8]);
    }
    assert_eq!(
        cluster.chat_messages(raid).await,
        ["from 0", "from 1", "from 2"]
    );
    let refused = cluster.node(2).execute(raid, 3, Command::Start, None).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_read_at_a_follower_shows_acknowledged_events_and_the_owner_url() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let _watcher = watch(cluster.node(0), raid, 1, None).await;
    cluster.say(0, raid, "hello", "a").await.expect("said");
    let snapshot = cluster
        .node(1)
        .sessions
        .read(raid, Caller::Player(player(2)))
        .await
        .expect("seen");
    assert_eq!((snapshot.seq, snapshot.online), (Seq(5), vec![player(1)]));
    assert_eq!(
        snapshot.ws_url.as_deref(),
        Some(cluster.node(0).record().ws_url.as_str())
    );
    assert_eq!(
        cluster.node(1).sessions.live_count(),
        0,
        "a read starts no session"
    );
    let (_watcher, _) = watch(cluster.node(1), raid, 2, None).await;
    cluster.say(0, raid, "again", "b").await.expect("said");
    let snapshot = cluster
        .node(1)
        .sessions
        .read(raid, Caller::Player(player(2)))
        .await
        .expect("seen");
    assert_eq!((snapshot.seq, snapshot.online.len()), (Seq(6), 2));
    assert_eq!(
        snapshot.ws_url.as_deref(),
        Some(cluster.node(0).record().ws_url.as_str())
    );
}

#[tokio::test(start_paused = true)]
async fn lost_repeated_and_reordered_messages_only_delay_a_follower() {
    for fault in [
        BusFault::DropEveryNth(3),
        BusFault::DropEveryNth(1),
        BusFault::Duplicate,
        BusFault::Reorder,
    ] {
        let cluster = TestCluster::start(2).await;
        let raid = cluster.node(0).create_raid(&[2]).await;
        let (mut owner_watcher, _) = watch(cluster.node(0), raid, 1, None).await;
        let (mut follower_watcher, _) = watch(cluster.node(1), raid, 2, None).await;
        cluster.broker.set_fault(Some(fault));
        let mut expected = Vec::new();
        for number in 0..12_u64 {
            let text = format!("{number}");
            let node = usize::from(number % 2 == 1);
            // From the follower it may take several attempts; over a bus that loses everything, the
            // command is refused in the end.
            match cluster.say(node, raid, &text, &text).await {
                Ok(ack) => assert!(!ack.duplicate || node == 1, "{fault:?}"),
                Err(error) => assert_eq!(
                    (error, fault),
                    (Error::Unavailable, BusFault::DropEveryNth(1))
                ),
            }
            expected.push(text);
        }
        let said = cluster.chat_messages(raid).await;
        if fault != BusFault::DropEveryNth(1) {
            assert_eq!(said, expected, "{fault:?}: each once, in order");
        }
        let seqs: Vec<_> = (5..5 + said.len() as u64).collect();
        assert_eq!(
            wait_for_events(&mut owner_watcher, said.len()).await,
            seqs,
            "{fault:?}"
        );
        assert_eq!(
            wait_for_events(&mut follower_watcher, said.len()).await,
            seqs,
            "{fault:?}: repaired from the store"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_last_message_is_found_by_the_poll_of_heads() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (mut follower_watcher, _) = watch(cluster.node(1), raid, 2, None).await;
    cluster.broker.set_fault(Some(BusFault::DropEveryNth(1)));
    cluster.say(0, raid, "lost", "a").await.expect("said");
    cluster.broker.set_fault(None);
    let began = Instant::now();
    assert_eq!(wait_for_events(&mut follower_watcher, 1).await, [5]);
    assert!(
        began.elapsed() <= Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_follower_without_a_bus_polls_and_refuses_commands_in_time() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let owner_watcher = watch(cluster.node(0), raid, 1, None).await;
    let (mut follower_watcher, _) = watch(cluster.node(1), raid, 2, None).await;
    for node in &cluster.nodes {
        node.bus.as_ref().expect("a bus").set_disconnected(true);
    }
    let began = Instant::now();
    cluster
        .say(0, raid, "local", "a")
        .await
        .expect("an owner needs no bus");
    assert!(
        began.elapsed() < Duration::from_millis(500),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(wait_for_events(&mut follower_watcher, 1).await, [5]);
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    let began = Instant::now();
    assert_eq!(
        cluster.say(1, raid, "remote", "b").await,
        Err(Error::Unavailable)
    );
    assert_eq!(began.elapsed().as_secs(), 5);
    sleep(Duration::from_secs(120)).await;
    let changes = [
        follower_watcher.take_presence(),
        owner_watcher.0.take_presence(),
    ]
    .concat();
    assert!(
        !changes.iter().any(has_offline_players),
        "no player goes offline while presence is in doubt: {changes:?}"
    );
    assert_eq!(cluster.leader_change_reasons(raid).await, []);
    for node in &cluster.nodes {
        node.bus.as_ref().expect("a bus").set_disconnected(false);
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(
        cluster.say(1, raid, "remote", "b").await,
        Ok(Ack {
            seq: Seq(6),
            duplicate: false
        })
    );
}

#[tokio::test(start_paused = true)]
async fn signals_reach_other_instances_once_and_not_their_sender() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (owner_watcher, _) = watch(cluster.node(0), raid, 1, None).await;
    let (follower_watcher, _) = watch(cluster.node(1), raid, 2, None).await;
    sleep(Duration::from_millis(200)).await;
    owner_watcher.send_signal(1, "wave").expect("a member");
    follower_watcher.send_signal(2, "nod").expect("a member");
    sleep(Duration::from_millis(100)).await;
    assert_eq!(owner_watcher.take_signals(), ["2 nod"]);
    assert_eq!(follower_watcher.take_signals(), ["1 wave"]);
}

#[tokio::test(start_paused = true)]
async fn a_mute_stops_signals_at_every_instance_that_has_its_event() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (owner_watcher, _) = watch(cluster.node(0), raid, 1, None).await;
    let (follower_watcher, _) = watch(cluster.node(1), raid, 2, None).await;
    sleep(Duration::from_millis(200)).await;
    let mute = Command::Mute {
        player: player(2),
        until: Some(1 << 47),
    };
    // The follower does not get the event: its own check knows no mute yet, the owner's does.
    cluster.broker.set_fault(Some(BusFault::DropEveryNth(1)));
    cluster
        .node(0)
        .execute(raid, 1, mute, None)
        .await
        .expect("muted");
    cluster.broker.set_fault(None);
    follower_watcher.send_signal(2, "nod").expect("unheard");
    sleep(Duration::from_millis(100)).await;
    assert_eq!(owner_watcher.take_signals(), [""; 0]);
    // The next event shows the follower what it has missed.
    cluster.say(0, raid, "next", "a").await.expect("said");
    sleep(Duration::from_millis(500)).await;
    assert_eq!(
        follower_watcher.send_signal(2, "nod"),
        Err(Refusal::Forbidden)
    );
}

#[tokio::test(start_paused = true)]
async fn a_follower_behind_its_client_refuses_the_watch_until_it_can_read() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (_follower_watcher, _) = watch(cluster.node(1), raid, 2, None).await;
    cluster.broker.set_fault(Some(BusFault::DropEveryNth(1)));
    cluster.say(0, raid, "unheard", "a").await.expect("said");
    cluster.node(1).store.faults().set_unreachable(true);
    let mut returning = cluster.node(1).watch(raid, 1, Some(5));
    assert_eq!(
        returning.watch_answer().await.err(),
        Some(Error::Unavailable)
    );
    cluster.node(1).store.faults().set_unreachable(false);
    let mut returning = cluster.node(1).watch(raid, 1, Some(5));
    let answer = returning.watch_answer().await.expect("watches");
    assert!(
        matches!(
            answer,
            ServerMessage::Watching {
                seq: Seq(5),
                recovered: true,
                ..
            }
        ),
        "{answer:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_owner_turned_follower_shows_the_raid_once_it_can_load() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (mut first, _) = watch(cluster.node(0), raid, 1, None).await;
    let (_second, _) = watch(cluster.node(1), raid, 2, None).await;
    cluster.node(0).store.faults().set_unreachable(true);
    cluster
        .say(1, raid, "meanwhile", "a")
        .await
        .expect("taken over");
    // The node can renew its lease and claim raids again, but not load.
    cluster.node(0).store.faults().set_unreachable(false);
    cluster.node(0).store.faults().hold_calls(Call::Load);
    sleep(Duration::from_secs(8)).await;
    assert_eq!(first.take_events(), [] as [u64; 0]);
    cluster.node(0).store.faults().release_calls(Call::Load);
    assert_eq!(wait_for_events(&mut first, 1).await, [5]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_misses_nothing_while_its_subscription_takes_effect() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let _owner_watcher = watch(cluster.node(0), raid, 1, None).await;
    let rng = StdRng::seed_from_u64(1);
    cluster.broker.set_delays(rng, 200..201);
    let mut watcher = cluster.node(1).watch(raid, 2, None);
    sleep(Duration::from_millis(100)).await;
    cluster.say(0, raid, "meanwhile", "a").await.expect("said");
    let answer = watcher.watch_answer().await.expect("watches");
    sleep(Duration::from_millis(300)).await;
    let ServerMessage::Snapshot { seq, .. } = answer else {
        panic!("not a snapshot: {answer:?}");
    };
    let events = watcher.take_events();
    assert_eq!(
        events.last().copied().unwrap_or(seq.0),
        5,
        "{seq} {events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_follower_reads_what_it_lost_as_soon_as_it_knows_of_the_loss() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let _owner_watcher = watch(cluster.node(0), raid, 1, None).await;
    let (mut watcher, _) = watch(cluster.node(1), raid, 2, None).await;
    let bus = cluster.node(1).bus.as_ref().expect("a bus");
    bus.set_disconnected(true);
    cluster.say(0, raid, "lost", "a").await.expect("said");
    bus.set_disconnected(false);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(watcher.take_events(), [5]);
}
