//! Several instances on one store and one bus, on paused time.

use super::hall::{Hall, START, Watcher, named, new_raid, options, player};
use crate::cluster::bus::exchange::{Exchange, Fault};
use crate::error::Error;
use crate::session::{Ack, Caller, Options};
use crate::store::memory::{Call, MemoryStore};
use crate::store::{Claim, Instance, InstanceId, Store};
use raidhall_protocol::event::LeaderReason;
use raidhall_protocol::{Command, EventData, RaidId, Seq, ServerMessage};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

struct Cluster {
    store: MemoryStore,
    exchange: Exchange,
    nodes: Vec<Hall>,
}

impl Cluster {
    async fn of(count: usize) -> Cluster {
        Self::with(count, options()).await
    }

    async fn with(count: usize, options: Options) -> Cluster {
        let (store, exchange) = (MemoryStore::new(START), Exchange::default());
        let mut cluster = Cluster { store, exchange, nodes: Vec::new() };
        for _ in 0..count {
            cluster.nodes.push(Hall::node(&cluster.store, &cluster.exchange, options.clone()).await);
        }
        // Everybody has renewed once and knows everybody.
        sleep(Duration::from_millis(1_100)).await;
        cluster
    }

    fn node(&self, index: usize) -> &Hall {
        &self.nodes[index]
    }

    async fn say(&self, node: usize, raid: RaidId, text: &str, op: &str) -> Result<Ack, Error> {
        self.node(node).say(raid, text, Some(op)).await
    }

    async fn ledger(&self, raid: RaidId) -> Vec<String> {
        let events = self.store.another().events(raid, Seq::ZERO, 10_000).await.expect("the ledger");
        assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == Seq(seq)), "contiguous");
        let said = |event: &raidhall_protocol::Event| match &event.data {
            EventData::Said { text } => Some(text.clone()),
            _ => None,
        };
        events.iter().filter_map(said).collect()
    }

    async fn leader_changes(&self, raid: RaidId) -> Vec<LeaderReason> {
        let events = self.store.another().events(raid, Seq::ZERO, 10_000).await.expect("the ledger");
        let reason = |event: &raidhall_protocol::Event| match &event.data {
            EventData::LeaderChanged { reason, .. } => Some(*reason),
            _ => None,
        };
        events.iter().filter_map(reason).collect()
    }
}

async fn watch(hall: &Hall, raid: RaidId, by: u64, since: Option<u64>) -> (Watcher, ServerMessage) {
    let mut watcher = hall.watch(raid, by, since);
    let answer = watcher.answer().await.expect("watches");
    (watcher, answer)
}

fn online(message: &ServerMessage) -> Vec<u64> {
    match message {
        ServerMessage::Watching { online, .. } | ServerMessage::Snapshot { online, .. } => {
            online.iter().map(|player| player.get()).collect()
        }
        other => panic!("no answer to a watch: {other:?}"),
    }
}

/// Waits until a watcher has seen this many events more.
async fn see(watcher: &mut Watcher, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    let patience = timeout(Duration::from_secs(30), async {
        while seen.len() < count {
            seen.extend(watcher.events());
            sleep(Duration::from_millis(1)).await;
        }
    });
    patience.await.unwrap_or_else(|_| panic!("saw only {seen:?}"));
    seen
}

/// Every presence message that comes within a while.
async fn presence_within(watcher: &Watcher, time: Duration) -> Vec<ServerMessage> {
    sleep(time).await;
    watcher.presence()
}

#[tokio::test(start_paused = true)]
async fn a_command_and_a_watch_work_at_every_instance() {
    let cluster = Cluster::of(3).await;
    let raid = cluster.node(0).raid(&[2, 3]).await;
    let mut watchers = Vec::new();
    for (node, by) in [(0, 1), (1, 2), (2, 3)] {
        watchers.push(watch(cluster.node(node), raid, by, None).await.0);
    }
    for node in 0..3 {
        let ack =
            cluster.say(node, raid, &format!("from {node}"), &format!("op-{node}")).await.expect("said");
        assert_eq!(ack, Ack { seq: Seq(5 + node as u64 + 1), duplicate: false });
        let again = cluster.say((node + 1) % 3, raid, "again", &format!("op-{node}")).await.expect("said");
        assert_eq!(again, Ack { duplicate: true, ..ack }, "the op is known at every instance");
    }
    for watcher in &mut watchers {
        assert_eq!(see(watcher, 3).await, [6, 7, 8]);
    }
    assert_eq!(cluster.ledger(raid).await, ["from 0", "from 1", "from 2"]);
    let refused = cluster.node(2).execute(raid, 3, Command::Start, None).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_read_at_another_instance_shows_what_was_acknowledged_and_where_the_owner_is() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let _watcher = watch(cluster.node(0), raid, 1, None).await;
    cluster.say(0, raid, "hello", "a").await.expect("said");
    let view = cluster.node(1).sessions.read(raid, Caller::Player(player(2))).await.expect("seen");
    assert_eq!((view.seq, view.online), (Seq(5), vec![player(1)]));
    assert_eq!(view.ws_url.as_deref(), Some(cluster.node(0).instance.ws_url.as_str()));
    assert_eq!(cluster.node(1).sessions.live(), 0, "a look makes nothing live");
    let (_watcher, _) = watch(cluster.node(1), raid, 2, None).await;
    cluster.say(0, raid, "again", "b").await.expect("said");
    let view = cluster.node(1).sessions.read(raid, Caller::Player(player(2))).await.expect("seen");
    assert_eq!((view.seq, view.online.len()), (Seq(6), 2));
    assert_eq!(view.ws_url.as_deref(), Some(cluster.node(0).instance.ws_url.as_str()));
}

#[tokio::test(start_paused = true)]
async fn when_an_owner_dies_a_watching_instance_takes_the_raid_over_within_four_seconds() {
    let cluster = Cluster::of(3).await;
    let raid = cluster.node(0).raid(&[2, 3]).await;
    let _gone = watch(cluster.node(0), raid, 1, None).await;
    let (mut here, _) = watch(cluster.node(1), raid, 2, None).await;
    let (mut there, _) = watch(cluster.node(2), raid, 3, None).await;
    cluster.say(1, raid, "before", "a").await.expect("said");
    cluster.node(0).die();
    let began = Instant::now();
    let ack = cluster.say(1, raid, "after", "b").await.expect("parked until there is an owner");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(ack, Ack { seq: Seq(7), duplicate: false });
    assert_eq!(cluster.say(2, raid, "before", "a").await, Ok(Ack { seq: Seq(6), duplicate: true }));
    for watcher in [&mut here, &mut there] {
        assert_eq!(see(watcher, 2).await, [6, 7], "nobody was disconnected, nothing is missing");
    }
    assert_eq!(cluster.ledger(raid).await, ["before", "after"]);
}

#[tokio::test(start_paused = true)]
async fn lost_repeated_and_reordered_messages_make_it_late_and_never_wrong() {
    for fault in [Fault::Lose(3), Fault::Lose(1), Fault::Repeat, Fault::Reorder] {
        let cluster = Cluster::of(2).await;
        let raid = cluster.node(0).raid(&[2]).await;
        let (mut owner_s, _) = watch(cluster.node(0), raid, 1, None).await;
        let (mut edge_s, _) = watch(cluster.node(1), raid, 2, None).await;
        cluster.exchange.fault(Some(fault));
        let mut expected = Vec::new();
        for number in 0..12_u64 {
            let (text, node) = (format!("{number}"), usize::from(number % 2 == 1));
            // From the edge it may take several sendings; a bus that loses everything refuses in the end.
            match cluster.say(node, raid, &text, &text).await {
                Ok(ack) => assert!(!ack.duplicate || node == 1, "{fault:?}"),
                Err(error) => assert_eq!((error, fault), (Error::Unavailable, Fault::Lose(1))),
            }
            expected.push(text);
        }
        let said = cluster.ledger(raid).await;
        if fault != Fault::Lose(1) {
            assert_eq!(said, expected, "{fault:?}: each once, in order");
        }
        let seqs: Vec<_> = (5..5 + said.len() as u64).collect();
        assert_eq!(see(&mut owner_s, said.len()).await, seqs, "{fault:?}");
        assert_eq!(see(&mut edge_s, said.len()).await, seqs, "{fault:?}: healed from the store");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_message_before_a_silence_is_found_by_the_poll_of_heads() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (mut edge_s, _) = watch(cluster.node(1), raid, 2, None).await;
    cluster.exchange.fault(Some(Fault::Lose(1)));
    cluster.say(0, raid, "lost", "a").await.expect("said");
    cluster.exchange.fault(None);
    let began = Instant::now();
    assert_eq!(see(&mut edge_s, 1).await, [5]);
    assert!(began.elapsed() <= Duration::from_secs(6), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_a_bus_an_edge_sees_by_polling_and_its_commands_are_refused_in_time() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let _owner_s = watch(cluster.node(0), raid, 1, None).await;
    let (mut edge_s, _) = watch(cluster.node(1), raid, 2, None).await;
    cluster.nodes.iter().for_each(|node| node.station.as_ref().expect("a node").cut(true));
    let began = Instant::now();
    cluster.say(0, raid, "local", "a").await.expect("an owner needs no bus");
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(see(&mut edge_s, 1).await, [5]);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(cluster.say(1, raid, "remote", "b").await, Err(Error::Unavailable));
    assert_eq!(began.elapsed().as_secs(), 5);
    sleep(Duration::from_secs(120)).await;
    let changes = [edge_s.presence(), _owner_s.0.presence()].concat();
    assert!(!changes.iter().any(went_offline), "in doubt nobody goes offline: {changes:?}");
    assert_eq!(cluster.leader_changes(raid).await, []);
    cluster.nodes.iter().for_each(|node| node.station.as_ref().expect("a node").cut(false));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(cluster.say(1, raid, "remote", "b").await, Ok(Ack { seq: Seq(6), duplicate: false }));
}

fn went_offline(message: &ServerMessage) -> bool {
    matches!(message, ServerMessage::Presence { offline, .. } if !offline.is_empty())
}

#[tokio::test(start_paused = true)]
async fn presence_is_the_same_at_every_instance() {
    let cluster = Cluster::of(3).await;
    let raid = cluster.node(0).raid(&[2, 3]).await;
    let (first, _) = watch(cluster.node(0), raid, 1, None).await;
    // Changes are gathered for a moment before they are told.
    sleep(Duration::from_millis(150)).await;
    let (second, answer) = watch(cluster.node(1), raid, 2, None).await;
    assert_eq!(online(&answer), [1, 2]);
    sleep(Duration::from_millis(150)).await;
    let (third, answer) = watch(cluster.node(2), raid, 3, None).await;
    assert_eq!(online(&answer), [1, 2, 3]);
    sleep(Duration::from_millis(500)).await;
    first.presence();
    second.presence();
    third.presence();
    third.leave();
    let begun = Instant::now();
    let told = loop {
        let told = [first.presence(), second.presence()];
        if told.iter().all(|messages| messages.iter().any(went_offline)) {
            break told;
        }
        sleep(Duration::from_millis(10)).await;
        assert!(begun.elapsed() < Duration::from_secs(8), "{told:?}");
    };
    assert!(begun.elapsed() >= Duration::from_secs(5), "{told:?} after {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn signals_reach_the_watchers_of_other_instances_once_and_not_their_sender() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (owner_s, _) = watch(cluster.node(0), raid, 1, None).await;
    let (edge_s, _) = watch(cluster.node(1), raid, 2, None).await;
    sleep(Duration::from_millis(200)).await;
    owner_s.signal(1, "wave");
    edge_s.signal(2, "nod");
    sleep(Duration::from_millis(100)).await;
    assert_eq!(owner_s.signals(), ["2 nod"]);
    assert_eq!(edge_s.signals(), ["1 wave"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_hands_its_raids_over_and_nobody_notices() {
    let cluster = Cluster::of(3).await;
    let raid = cluster.node(0).raid(&[2, 3]).await;
    let (mut first, _) = watch(cluster.node(0), raid, 1, None).await;
    let (mut second, _) = watch(cluster.node(0), raid, 2, None).await;
    let (mut third, _) = watch(cluster.node(1), raid, 3, None).await;
    sleep(Duration::from_secs(1)).await;
    [&first, &second, &third].iter().for_each(|watcher| drop(watcher.presence()));
    let began = Instant::now();
    cluster.node(0).sessions.hand_over().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // Those who are still connected to it act through it, as by an edge.
    let ack = cluster.say(0, raid, "through", "a").await.expect("said");
    assert_eq!(ack.seq, Seq(6));
    for watcher in [&mut first, &mut second, &mut third] {
        assert_eq!(see(watcher, 1).await, [6]);
    }
    // They are let go one after the other, and come back elsewhere.
    first.leave();
    sleep(Duration::from_secs(1)).await;
    second.leave();
    sleep(Duration::from_secs(1)).await;
    let (mut first, answer) = watch(cluster.node(2), raid, 1, Some(6)).await;
    assert!(matches!(answer, ServerMessage::Watching { recovered: true, .. }));
    assert_eq!(online(&answer), [1, 2, 3]);
    cluster.node(0).die();
    sleep(Duration::from_secs(4)).await;
    let (_second, answer) = watch(cluster.node(1), raid, 2, Some(6)).await;
    assert_eq!(online(&answer), [1, 2, 3]);
    cluster.say(2, raid, "after", "b").await.expect("said");
    assert_eq!(see(&mut first, 1).await, [7]);
    sleep(Duration::from_secs(70)).await;
    for watcher in [&first, &third] {
        assert_eq!(watcher.presence(), [], "no presence change that a person did not make");
    }
    assert_eq!(cluster.leader_changes(raid).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_drain_with_all_watchers_on_the_drained_node_keeps_who_is_online() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (first, _) = watch(cluster.node(0), raid, 1, None).await;
    let (second, _) = watch(cluster.node(0), raid, 2, None).await;
    sleep(Duration::from_secs(1)).await;
    cluster.node(0).sessions.hand_over().await;
    first.leave();
    second.leave();
    cluster.node(0).stop.cancel();
    sleep(Duration::from_secs(2)).await;
    cluster.node(0).die();
    let (first, answer) = watch(cluster.node(1), raid, 1, Some(4)).await;
    assert_eq!(online(&answer), [1, 2]);
    let (_second, answer) = watch(cluster.node(1), raid, 2, Some(4)).await;
    assert_eq!(online(&answer), [1, 2]);
    assert_eq!(presence_within(&first, Duration::from_secs(30)).await, []);
}

#[tokio::test(start_paused = true)]
async fn an_owner_cut_off_from_the_store_becomes_an_edge_of_the_next_one() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (mut first, _) = watch(cluster.node(0), raid, 1, None).await;
    let (mut second, _) = watch(cluster.node(1), raid, 2, None).await;
    cluster.node(0).store.faults().cut(true);
    let ack = cluster.say(1, raid, "meanwhile", "a").await.expect("taken over");
    assert_eq!(ack.seq, Seq(5));
    cluster.node(0).store.faults().cut(false);
    assert_eq!(see(&mut second, 1).await, [5]);
    assert_eq!(see(&mut first, 1).await, [5], "its watchers stayed connected");
    let ack = cluster.say(0, raid, "again", "b").await.expect("forwarded");
    assert_eq!(ack.seq, Seq(6));
    assert_eq!(see(&mut first, 1).await, [6]);
}

#[tokio::test(start_paused = true)]
async fn after_a_stall_of_the_store_everybody_goes_on_with_what_was_theirs() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (mut first, _) = watch(cluster.node(0), raid, 1, None).await;
    let (mut second, _) = watch(cluster.node(1), raid, 2, None).await;
    let epoch = cluster.store.head(raid).await.expect("read").expect("a raid").epoch;
    cluster.nodes.iter().for_each(|node| node.store.faults().cut(true));
    sleep(Duration::from_secs(10)).await;
    cluster.nodes.iter().for_each(|node| node.store.faults().cut(false));
    sleep(Duration::from_secs(2)).await;
    cluster.say(1, raid, "on", "a").await.expect("said");
    for watcher in [&mut first, &mut second] {
        assert_eq!(see(watcher, 1).await, [5]);
    }
    let head = cluster.store.head(raid).await.expect("read").expect("a raid");
    assert_eq!((head.epoch, head.owner), (epoch, Some(cluster.node(0).instance.id)), "not even reloaded");
}

#[tokio::test(start_paused = true)]
async fn a_raid_watched_elsewhere_is_not_idle_and_one_that_nobody_watches_is_released() {
    let cluster = Cluster::with(2, Options { idle_timeout: Duration::from_secs(20), ..options() }).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (edge_s, _) = watch(cluster.node(1), raid, 2, None).await;
    sleep(Duration::from_secs(300)).await;
    assert_eq!((cluster.node(0).sessions.live(), cluster.node(1).sessions.live()), (1, 1));
    edge_s.leave();
    sleep(Duration::from_secs(60)).await;
    assert_eq!((cluster.node(0).sessions.live(), cluster.node(1).sessions.live()), (0, 0));
    cluster.node(0).sessions.release_idle().await;
    let head = cluster.store.head(raid).await.expect("read").expect("a raid");
    assert_eq!(head.owner, None);
    assert_eq!((cluster.node(0).tasks.len(), cluster.node(1).tasks.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn many_raids_of_a_dead_node_are_taken_over_once_each() {
    let cluster = Cluster::of(3).await;
    let mut raids = Vec::new();
    for _ in 0..100 {
        raids.push(cluster.node(0).raid(&[2, 3]).await);
    }
    let mut watchers = Vec::new();
    for raid in &raids {
        watchers.push(watch(cluster.node(1), *raid, 2, None).await.0);
        watchers.push(watch(cluster.node(2), *raid, 3, None).await.0);
    }
    cluster.node(0).die();
    sleep(Duration::from_secs(5)).await;
    let heads = cluster.store.heads(&raids).await.expect("read");
    let (one, two) = (cluster.node(1).instance.id, cluster.node(2).instance.id);
    for (raid, head) in heads {
        assert!(head.owner == Some(one) || head.owner == Some(two), "{raid} has {:?}", head.owner);
        assert_eq!(head.epoch.0, 2, "claimed once");
    }
    for (raid, number) in raids.iter().zip(0..) {
        cluster.say(1 + number % 2, *raid, "on", "a").await.expect("said");
    }
    for watcher in &mut watchers {
        assert_eq!(see(watcher, 1).await, [6]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_whose_last_word_was_lost_is_asked_and_keeps_nothing_in_doubt() {
    let cluster = Cluster::with(2, Options { idle_timeout: Duration::from_secs(20), ..options() }).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (owner_s, _) = watch(cluster.node(0), raid, 1, None).await;
    let (edge_s, _) = watch(cluster.node(1), raid, 2, None).await;
    sleep(Duration::from_secs(1)).await;
    owner_s.presence();
    cluster.exchange.fault(Some(Fault::Lose(1)));
    edge_s.leave();
    sleep(Duration::from_millis(10)).await;
    cluster.exchange.fault(None);
    let told = presence_within(&owner_s, Duration::from_secs(15)).await;
    assert!(told.iter().any(went_offline), "{told:?}");
    owner_s.leave();
    sleep(Duration::from_secs(60)).await;
    assert_eq!((cluster.node(0).sessions.live(), cluster.node(1).sessions.live()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_look_or_a_refused_watch_at_another_instance_leaves_nothing_in_doubt() {
    let cluster = Cluster::with(2, Options { idle_timeout: Duration::from_secs(20), ..options() }).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (owner_s, _) = watch(cluster.node(0), raid, 1, None).await;
    cluster.say(1, raid, "makes an edge", "a").await.expect("said");
    cluster.node(1).sessions.read(raid, Caller::Player(player(2))).await.expect("seen");
    let mut stranger = cluster.node(1).watch(raid, 9, None);
    assert!(matches!(stranger.answer().await, Err(Error::Refused(_))));
    owner_s.leave();
    sleep(Duration::from_secs(60)).await;
    assert_eq!((cluster.node(0).sessions.live(), cluster.node(1).sessions.live()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_heir_takes_a_raid_of_which_it_already_is_an_edge() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (mut first, _) = watch(cluster.node(0), raid, 1, None).await;
    cluster.say(1, raid, "makes an edge", "a").await.expect("said");
    cluster.node(0).sessions.hand_over().await;
    let began = Instant::now();
    let ack = cluster.say(0, raid, "on", "b").await.expect("said");
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(ack.seq, Seq(6));
    assert_eq!(see(&mut first, 2).await, [5, 6]);
    let head = cluster.store.head(raid).await.expect("read").expect("a raid");
    assert_eq!(head.owner, Some(cluster.node(1).instance.id));
    let (_second, answer) = watch(cluster.node(1), raid, 2, None).await;
    assert_eq!(online(&answer), [1, 2], "who was online is known to the heir");
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_cannot_read_what_a_client_has_seen_says_so_and_shows_nothing_older() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (_edge_s, _) = watch(cluster.node(1), raid, 2, None).await;
    cluster.exchange.fault(Some(Fault::Lose(1)));
    cluster.say(0, raid, "unheard", "a").await.expect("said");
    cluster.node(1).store.faults().cut(true);
    let mut returning = cluster.node(1).watch(raid, 1, Some(5));
    assert_eq!(returning.answer().await.err(), Some(Error::Unavailable));
    cluster.node(1).store.faults().cut(false);
    let mut returning = cluster.node(1).watch(raid, 1, Some(5));
    let answer = returning.answer().await.expect("watches");
    assert!(matches!(answer, ServerMessage::Watching { seq: Seq(5), recovered: true, .. }), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn watchers_of_an_owner_that_became_an_edge_are_shown_the_raid_as_soon_as_it_can_be_loaded() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (mut first, _) = watch(cluster.node(0), raid, 1, None).await;
    let (_second, _) = watch(cluster.node(1), raid, 2, None).await;
    cluster.node(0).store.faults().cut(true);
    cluster.say(1, raid, "meanwhile", "a").await.expect("taken over");
    // It can renew and claim again, but not load.
    cluster.node(0).store.faults().cut(false);
    cluster.node(0).store.faults().hold(Call::Load);
    sleep(Duration::from_secs(8)).await;
    assert_eq!(first.events(), [] as [u64; 0]);
    cluster.node(0).store.faults().go_on(Call::Load);
    assert_eq!(see(&mut first, 1).await, [5]);
}

#[tokio::test(start_paused = true)]
async fn a_raid_that_reloads_while_its_node_drains_is_given_up_all_the_same() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (_first, _) = watch(cluster.node(0), raid, 1, None).await;
    cluster.node(0).store.faults().stall_commits(1);
    let pending = cluster.node(0).submit(raid, "stalled", Some("a"));
    let sessions = cluster.node(0).sessions.clone();
    let handing_over = tokio::spawn(async move { sessions.hand_over().await });
    sleep(Duration::from_millis(100)).await;
    cluster.node(0).store.faults().cut(true);
    sleep(Duration::from_millis(2_200)).await;
    cluster.node(0).store.faults().lose_stalled();
    cluster.node(0).store.faults().cut(false);
    assert_eq!(pending.answer().await, Err(Error::Unavailable));
    timeout(Duration::from_secs(5), handing_over).await.expect("ends").expect("no panic");
    let ack = cluster.say(1, raid, "on", "b").await.expect("said");
    assert!(!ack.duplicate, "{ack:?}");
    let head = cluster.store.head(raid).await.expect("read").expect("a raid");
    assert_eq!(head.owner, Some(cluster.node(1).instance.id));
}

#[tokio::test(start_paused = true)]
async fn a_raid_whose_heir_does_not_hear_of_it_is_offered_again_and_who_was_online_is_not_forgotten() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (leaving, _) = watch(cluster.node(0), raid, 1, None).await;
    cluster.exchange.fault(Some(Fault::Lose(1)));
    let sessions = cluster.node(0).sessions.clone();
    let handing_over = tokio::spawn(async move { sessions.hand_over().await });
    sleep(Duration::from_millis(200)).await;
    assert!(!handing_over.is_finished(), "nobody has it yet");
    cluster.exchange.fault(None);
    timeout(Duration::from_secs(1), handing_over).await.expect("ends").expect("no panic");
    leaving.leave();
    let head = cluster.store.head(raid).await.expect("read").expect("a raid");
    assert_eq!(head.owner, Some(cluster.node(1).instance.id));
    let (_second, answer) = watch(cluster.node(1), raid, 2, None).await;
    assert_eq!(online(&answer), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_raid_that_nobody_can_take_is_let_go() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (_leaving, _) = watch(cluster.node(0), raid, 1, None).await;
    // It is taken for living until its lease runs out.
    cluster.node(1).die();
    timeout(Duration::from_secs(5), cluster.node(0).sessions.hand_over()).await.expect("ends");
    let head = cluster.store.head(raid).await.expect("read").expect("a raid");
    assert_eq!(head.owner, None);
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_own_clock_stood_still_notices_that_others_went_on() {
    let cluster = Cluster::of(1).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (_first, _) = watch(cluster.node(0), raid, 1, None).await;
    // The machine is suspended for a minute. Another instance enlists meanwhile and takes the raid.
    cluster.store.set_now(cluster.store.now().plus(60_000));
    let ws_url = "ws://127.0.0.1:9/api/v1/ws".to_owned();
    let next = Instance { id: InstanceId(Uuid::now_v7()), ws_url, release: "test".into(), draining: false };
    cluster.store.enlist(&next, Duration::from_secs(600), Duration::ZERO).await.expect("enlisted");
    let claims = cluster.store.claim(&[raid], next.id).await.expect("claimed");
    assert!(matches!(claims[..], [Claim::Ours(_)]), "{claims:?}");
    sleep(Duration::from_secs(2)).await;
    let view = cluster.node(0).sessions.read(raid, Caller::Player(player(1))).await.expect("seen");
    assert_eq!(view.ws_url, Some(next.ws_url), "it knows whose the raid is");
}

#[tokio::test(start_paused = true)]
async fn an_heir_shows_nobody_who_had_left_before() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[3]).await;
    let (first, _) = watch(cluster.node(0), raid, 1, None).await;
    let (third, _) = watch(cluster.node(1), raid, 3, None).await;
    sleep(Duration::from_secs(2)).await;
    third.leave();
    sleep(Duration::from_secs(30)).await;
    drop(first.presence());
    cluster.node(0).sessions.hand_over().await;
    assert_eq!(presence_within(&first, Duration::from_secs(30)).await, []);
    let head = cluster.store.head(raid).await.expect("read").expect("a raid");
    assert_eq!(head.owner, Some(cluster.node(1).instance.id));
}

#[tokio::test(start_paused = true)]
async fn a_leader_who_came_back_while_the_store_was_away_keeps_the_lead() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2, 3]).await;
    let (leader, _) = watch(cluster.node(0), raid, 1, None).await;
    let (_second, _) = watch(cluster.node(0), raid, 2, None).await;
    let (_third, _) = watch(cluster.node(1), raid, 3, None).await;
    leader.leave();
    // Missed since the fifth second, for a minute at the sixty-fifth.
    sleep(Duration::from_secs(57)).await;
    cluster.nodes.iter().for_each(|node| node.store.faults().cut(true));
    sleep(Duration::from_secs(4)).await;
    let (_leader, _) = watch(cluster.node(1), raid, 1, None).await;
    sleep(Duration::from_millis(4_500)).await;
    cluster.nodes.iter().for_each(|node| node.store.faults().cut(false));
    sleep(Duration::from_secs(90)).await;
    assert_eq!(cluster.leader_changes(raid).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_raid_that_is_being_made_does_not_hold_a_drain_up() {
    let cluster = Cluster::of(2).await;
    let node = cluster.node(0);
    node.store.faults().hold(Call::ReserveRaidIds);
    let sessions = node.sessions.clone();
    let making = tokio::spawn(async move { sessions.create(named(1), new_raid(), None).await });
    sleep(Duration::from_millis(10)).await;
    let sessions = node.sessions.clone();
    let drained = tokio::spawn(async move { sessions.hand_over().await });
    sleep(Duration::from_millis(10)).await;
    node.store.faults().go_on(Call::ReserveRaidIds);
    assert_eq!(making.await.expect("no panic"), Err(Error::Unavailable));
    timeout(Duration::from_secs(1), drained).await.expect("soon").expect("no panic");
    sleep(Duration::from_secs(1)).await;
    assert_eq!((node.sessions.live(), *node.sessions.0.owned.borrow()), (0, 0), "nothing is left of it");
}

#[tokio::test(start_paused = true)]
async fn a_raid_whose_release_fails_at_first_is_handed_over_with_all_that_is_known() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (first, _) = watch(cluster.node(0), raid, 1, None).await;
    let (second, _) = watch(cluster.node(0), raid, 2, None).await;
    sleep(Duration::from_secs(1)).await;
    cluster.node(0).store.faults().fail(Call::Release, 3);
    timeout(Duration::from_secs(5), cluster.node(0).sessions.hand_over()).await.expect("in the end");
    first.leave();
    second.leave();
    cluster.node(0).die();
    let (first, answer) = watch(cluster.node(1), raid, 1, Some(4)).await;
    assert_eq!(online(&answer), [1, 2], "the heir was told who is online");
    let (_second, _) = watch(cluster.node(1), raid, 2, Some(4)).await;
    assert_eq!(presence_within(&first, Duration::from_secs(30)).await, []);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_hears_of_a_newer_release_gives_the_raid_to_one_that_can_own_it() {
    let cluster = Cluster::of(2).await;
    let raid = cluster.node(0).raid(&[2]).await;
    let (mut first, _) = watch(cluster.node(0), raid, 1, None).await;
    cluster.node(0).sessions.never_claim(raid);
    cluster.say(0, raid, "on", "a").await.expect("forwarded");
    assert_eq!(see(&mut first, 1).await, [5], "its watchers stay");
    let head = cluster.store.head(raid).await.expect("read").expect("a raid");
    assert_eq!(head.owner, Some(cluster.node(1).instance.id));
}
