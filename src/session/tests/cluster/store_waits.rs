//! Requests that must be looked up in the store hold up no other request of the raid.

use super::*;
use crate::clock::BootInstant;
use crate::cluster::client::MessageHeader;
use crate::cluster::lease::Lease;
use crate::cluster::message::ClusterMessage;
use crate::session::tests::PANIC_TEXT;

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
    let (instance, raid) = start_with_evicted_op().await;
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
async fn an_op_that_is_evicted_while_it_waits_takes_effect_once() {
    let (instance, raid) = start_with_evicted_op().await;
    let searched = instance.submit(raid, "d", Some("d"));
    let repeated = instance.submit(raid, "b", Some("b"));
    let seqs = [searched.answer().await, repeated.answer().await]
        .map(|answer| answer.map(|ack| (ack.seq.0, ack.duplicate)));
    assert_eq!(seqs, [Ok((8, false)), Ok((6, true))]);
}

/// Starts an instance with a raid of four events, then "a", "b" and "c" at 5 to 7; the op of "a" is no
/// longer in memory.
async fn start_with_evicted_op() -> (TestInstance, RaidId) {
    let instance = TestInstance::start(Options {
        op_keys_max: 2,
        ..options()
    })
    .await;
    let raid = instance.create_raid(&[2]).await;
    for op in ["a", "b", "c"] {
        instance.say(raid, op, Some(op)).await.expect("said");
    }
    (instance, raid)
}

fn set_lease(lease: &Lease, ttl: Duration) {
    lease.renew(BootInstant::now(), ttl, false);
}

#[tokio::test(start_paused = true)]
async fn commands_behind_a_panic_that_waited_for_a_search_keep_their_order() {
    let (instance, raid) = start_with_evicted_op().await;
    instance.store.faults().hold_calls(Call::FindOps);
    let culprit = instance.submit(raid, PANIC_TEXT, Some("panic"));
    let same_search = instance.submit(raid, "first", Some("first"));
    wait_for_call(&instance, Call::FindOps, 1).await;
    let next_search = instance.submit(raid, "second", Some("second"));
    sleep(Duration::from_millis(1)).await;
    instance.store.faults().release_calls(Call::FindOps);
    assert_eq!(culprit.answer().await, Err(Error::Internal));
    let seqs = [same_search.answer().await, next_search.answer().await];
    assert_eq!(
        seqs.map(|answer| answer.map(|ack| ack.seq.0)),
        [Ok(8), Ok(9)]
    );
}

/// Submits two commands that wait for one search, and lets the lease run out when the first is about
/// to be executed.
async fn lose_lease_after_search(instance: &TestInstance, raid: RaidId) -> [PendingAck; 2] {
    let faults = instance.store.faults();
    faults.hold_calls(Call::Renew);
    faults.hold_calls(Call::FindOps);
    // Its reply is sent before the next command is executed.
    let lease = Arc::clone(instance.lease());
    let say = Command::Say { text: "a".into() };
    let expire_lease = move || set_lease(&lease, Duration::ZERO);
    let repeated = instance.submit_and_then(raid, say, Some("a"), expire_lease);
    let commands = ["first", "second"].map(|text| instance.submit(raid, text, Some(text)));
    wait_for_call(instance, Call::FindOps, 1).await;
    faults.release_calls(Call::FindOps);
    assert_eq!(repeated.answer().await.map(|ack| ack.seq), Ok(Seq(5)));
    commands
}

#[tokio::test(start_paused = true)]
async fn searched_commands_keep_their_order_over_a_gap_in_the_lease() {
    let (instance, raid) = start_with_evicted_op().await;
    let [mut first, mut second] = lose_lease_after_search(&instance, raid).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!((first.try_answer(), second.try_answer()), (None, None));
    set_lease(instance.lease(), Duration::from_secs(3_600));
    let seqs = [first.answer().await, second.answer().await];
    assert_eq!(
        seqs.map(|answer| answer.map(|ack| ack.seq.0)),
        [Ok(8), Ok(9)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_command_that_was_searched_for_is_not_decided_without_a_lease() {
    let (instance, raid) = start_with_evicted_op().await;
    for command in lose_lease_after_search(&instance, raid).await {
        assert_eq!(command.answer().await, Err(Error::Unavailable));
    }
    set_lease(instance.lease(), Duration::from_secs(3_600));
    let answers = [
        instance.say(raid, "second", Some("second")).await,
        instance.say(raid, "first", Some("first")).await,
    ];
    let seqs = answers.map(|answer| answer.map(|ack| (ack.seq.0, ack.duplicate)));
    assert_eq!(seqs, [Ok((9, false)), Ok((8, true))]);
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_are_refused_while_the_lease_is_unconfirmed() {
    let (instance, raid) = start_with_evicted_op().await;
    let faults = instance.store.faults();
    faults.hold_calls(Call::Renew);
    faults.hold_calls(Call::FindOps);
    faults.hold_calls(Call::Heads);
    let command = instance.submit(raid, "searched", Some("searched"));
    let mut watcher = instance.watch(raid, 2, Some(1_000));
    wait_for_call(&instance, Call::FindOps, 1).await;
    wait_for_call(&instance, Call::Heads, 1).await;
    set_lease(instance.lease(), Duration::ZERO);
    instance.sessions.wake(raid);
    let answers = async {
        (
            command.answer().await.err(),
            watcher.watch_answer().await.err(),
        )
    };
    assert_eq!(
        timeout(Duration::from_secs(5), answers).await,
        Ok((Some(Error::Unavailable), Some(Error::Unavailable)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_head_read_before_a_release_does_not_bring_the_owner_back() {
    let cluster = TestCluster::start(2).await;
    let raid = cluster.node(0).create_raid(&[2]).await;
    let (watcher, _) = watch(cluster.node(1), raid, 2, None).await;
    // No client needs the raid at the follower, which claims it only for the next command.
    watcher.leave();
    let head = cluster
        .store
        .head(raid)
        .await
        .expect("a head")
        .expect("a raid");
    let owner = head.owner.expect("an owner");
    let released = cluster.store.release(&[(raid, head.epoch)], owner).await;
    released.expect("released");
    let header = MessageHeader {
        raid,
        epoch: head.epoch,
        seq: head.last_seq,
    };
    let [former, follower] = [0, 1].map(|node| &cluster.node(node).sessions.cluster);
    former.broadcast(header, ClusterMessage::Released);
    sleep(Duration::from_millis(10)).await;
    follower.dispatch_head(raid, head);
    sleep(Duration::from_millis(10)).await;
    cluster.say(1, raid, "on", "a").await.expect("said");
    let head = cluster
        .store
        .head(raid)
        .await
        .expect("a head")
        .expect("a raid");
    assert_eq!(head.owner, Some(cluster.node(1).record().id));
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
