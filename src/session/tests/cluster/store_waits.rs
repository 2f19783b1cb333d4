//! Requests that must be looked up in the store hold up no other request of the raid.

use super::*;

/// Number of requests that a slow store keeps waiting.
const VISITORS: u64 = 30;

/// Waits until a method of the store was called.
async fn wait_for_call(instance: &TestInstance, call: Call, count: u64) {
    let called = timeout(Duration::from_secs(5), async {
        while instance.store.faults().call_count(call) < count {
            sleep(Duration::from_millis(1)).await;
        }
    });
    called.await.expect("the store was asked");
}

async fn answers(watchers: &mut [TestWatcher]) -> Vec<Result<ServerMessage, Error>> {
    let mut answers = Vec::new();
    for watcher in watchers {
        answers.push(watcher.watch_answer().await);
    }
    answers
}

#[tokio::test(start_paused = true)]
async fn strangers_share_one_check_and_hold_up_no_member() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let missing = RaidId::try_from(12_345_u64).expect("an id");
    let _watchers = [
        watch(cluster.node(0), raid, 1, None).await,
        watch(cluster.node(1), raid, 2, None).await,
    ];
    for node in &cluster.nodes {
        let faults = node.store.faults();
        let before = faults.call_count(Call::FilterEverJoined);
        faults.hold_calls(Call::FilterEverJoined);
        let mut strangers: Vec<_> = (0..VISITORS)
            .flat_map(|id| {
                [
                    node.watch(raid, 100 + id, None),
                    node.watch(missing, 100 + id, None),
                ]
            })
            .collect();
        wait_for_call(node, Call::FilterEverJoined, before + 1).await;
        let said = node.say(raid, "meanwhile", None).await;
        assert!(said.is_ok(), "{said:?}");
        faults.release_calls(Call::FilterEverJoined);
        for answer in answers(&mut strangers).await {
            assert_eq!(answer.err(), Some(Refusal::NotFound.into()));
        }
        assert_eq!(
            faults.call_count(Call::FilterEverJoined),
            before + 1,
            "one statement for all"
        );
        assert_eq!(node.sessions.live_count(), 1, "none for the missing raid");
    }
}

#[tokio::test(start_paused = true)]
async fn watches_behind_the_replica_share_one_read_and_hold_up_no_command() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2, 3]).await;
    let _watcher = watch(cluster.node(1), raid, 2, None).await;
    let node = cluster.node(1);
    let faults = node.store.faults();
    cluster
        .node(0)
        .execute(raid, 3, Command::Leave, None)
        .await
        .expect("left");
    let before = faults.call_count(Call::Events);
    faults.hold_calls(Call::Events);
    // A former member, and a member whose client claims to be far ahead.
    let mut former: Vec<_> = (0..VISITORS).map(|_| node.watch(raid, 3, None)).collect();
    let mut ahead: Vec<_> = (0..VISITORS)
        .map(|_| node.watch(raid, 2, Some(1_000)))
        .collect();
    wait_for_call(node, Call::Events, before + 1).await;
    let said = node.say(raid, "meanwhile", None).await;
    assert!(said.is_ok(), "{said:?}");
    faults.release_calls(Call::Events);
    for answer in answers(&mut former).await {
        assert_eq!(answer.err(), Some(Refusal::NotFound.into()));
    }
    for answer in answers(&mut ahead).await {
        assert!(
            matches!(answer, Ok(ServerMessage::Snapshot { .. })),
            "{answer:?}"
        );
    }
    let reads = faults.call_count(Call::Events) - before;
    assert!(reads <= 3, "{reads} reads");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_searched_for_holds_up_only_later_ones_of_its_player() {
    let instance = TestInstance::start(Options {
        op_keys_max: 2,
        ..options()
    })
    .await;
    let raid = instance.create_raid(&[2]).await;
    for op in ["a", "b", "c"] {
        instance.say(raid, op, Some(op)).await.expect("said");
    }
    let faults = instance.store.faults();
    faults.hold_calls(Call::FindOps);
    let mut searched = instance.submit(raid, "d", Some("d"));
    let mut next = instance.submit(raid, "e", None);
    let mut repeated = instance.submit(raid, "a", Some("a"));
    let text = Command::Say {
        text: "by another".into(),
    };
    let other = instance.execute(raid, 2, text, None).await.expect("said");
    assert_eq!(other.seq, Seq(8));
    for waiting in [&mut searched, &mut next, &mut repeated] {
        assert_eq!(waiting.try_answer(), None);
    }
    faults.release_calls(Call::FindOps);
    let seqs = [
        searched.answer().await,
        next.answer().await,
        repeated.answer().await,
    ]
    .map(|answer| answer.map(|ack| (ack.seq.0, ack.duplicate)));
    assert_eq!(seqs, [Ok((9, false)), Ok((10, false)), Ok((5, true))]);
    assert_eq!(faults.call_count(Call::FindOps), 1, "one search for all");
}

#[tokio::test(start_paused = true)]
async fn watches_ahead_of_the_owner_share_one_check_and_hold_up_no_command() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    let faults = instance.store.faults();
    let before = faults.call_count(Call::Heads);
    faults.hold_calls(Call::Heads);
    let mut ahead: Vec<_> = (0..VISITORS)
        .map(|_| instance.watch(raid, 2, Some(1_000)))
        .collect();
    let said = instance.say(raid, "meanwhile", None).await;
    assert!(said.is_ok(), "{said:?}");
    faults.release_calls(Call::Heads);
    for answer in answers(&mut ahead).await {
        assert!(
            matches!(answer, Ok(ServerMessage::Snapshot { .. })),
            "{answer:?}"
        );
    }
    let checks = faults.call_count(Call::Heads) - before;
    assert!(checks <= 2, "{checks} checks");
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_served_by_a_claim_while_the_store_is_asked_for_a_dead_owner() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let _watcher = watch(cluster.node(0), raid, 1, None).await;
    let node = cluster.node(1);
    node.say(raid, "makes it a follower", None)
        .await
        .expect("said");
    node.store.faults().hold_calls(Call::Heads);
    cluster.node(0).kill();
    // An unanswered command makes the follower ask the store, which does not answer.
    let _unanswered = node.submit(raid, "unanswered", None);
    wait_for_call(node, Call::Heads, 1).await;
    sleep(Duration::from_secs(3)).await;
    let mut watcher = node.watch(raid, 2, None);
    let answer = timeout(Duration::from_secs(5), watcher.watch_answer());
    assert!(matches!(answer.await, Ok(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_waits_does_not_replace_a_later_one_of_its_connection() {
    let instance = TestInstance::start(options()).await;
    let raid = instance.create_raid(&[2]).await;
    let faults = instance.store.faults();
    faults.hold_calls(Call::Heads);
    let waiting = instance.watch(raid, 2, Some(1_000));
    let later = WatchId { raid, number: 2 };
    let mut watcher = instance.watch_over(Arc::clone(&waiting.outbox), later, 2, None);
    watcher.watch_answer().await.expect("watches");
    let before = faults.call_count(Call::Heads);
    faults.release_calls(Call::Heads);
    // The next check begins after the one that the first watch waits for.
    let mut other = instance.watch(raid, 1, Some(1_000));
    other.watch_answer().await.expect("watches");
    assert!(faults.call_count(Call::Heads) > before);
    instance.say(raid, "for all", None).await.expect("said");
    assert_eq!(wait_for_events(&mut watcher, 1).await, [5]);
}

#[tokio::test(start_paused = true)]
async fn forwarded_commands_that_wait_for_the_owner_keep_their_order() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let node = cluster.node(1);
    let _watcher = watch(node, raid, 2, None).await;
    // The former owner has released the raid and forwards commands; this node has not heard of it.
    let from = cluster.node(0).record().id;
    let store = cluster.store.new_connection();
    let head = store.head(raid).await.expect("a head").expect("a raid");
    store
        .release(&[(raid, head.epoch)], from)
        .await
        .expect("released");
    node.store.faults().hold_calls(Call::Heads);
    let before = node.store.faults().call_count(Call::Heads);
    let texts = ["first", "second", "third"];
    let answers = texts.map(|text| node.submit_forwarded(raid, from, text));
    wait_for_call(node, Call::Heads, before + 1).await;
    node.store.faults().release_calls(Call::Heads);
    for answer in answers {
        answer.answer().await.expect("said");
    }
    assert_eq!(cluster.chat_messages(raid).await, texts);
}
