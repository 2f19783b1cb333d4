//! Tests with several instances on one store and one bus, on paused time.

use std::sync::Arc;
use std::time::Duration;

use raidhall_protocol::event::LeaderReason;
use raidhall_protocol::{Command, EventData, RaidId, Seq, ServerMessage};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::test_instance::{
    PendingAck, START_TIME, TestInstance, TestWatcher, new_raid, options, player, player_ref,
};
use crate::cluster::bus::in_process::{BusFault, InProcessBroker};
use crate::error::Error;
use crate::fanout::outbox::WatchId;
use crate::raid::{Ack, Refusal};
use crate::session::{Caller, Options};
use crate::store::faulty::{Call, Faulty};
use crate::store::memory::MemoryStore;
use crate::store::{ClaimOutcome, InstanceId, InstanceRecord, Ledger, Ownership};

mod drain;
mod erasure;
mod follower;
mod lost_history;
mod presence;
mod projection;
mod split_bus;
mod store_waits;
mod takeover;

struct TestCluster {
    store: Faulty<MemoryStore>,
    broker: InProcessBroker,
    nodes: Vec<TestInstance>,
}

impl TestCluster {
    async fn start(count: usize) -> TestCluster {
        Self::start_with(count, options()).await
    }

    async fn start_with(count: usize, options: Options) -> TestCluster {
        let mut cluster = TestCluster {
            store: Faulty::new(MemoryStore::new(START_TIME)),
            broker: InProcessBroker::default(),
            nodes: Vec::new(),
        };
        for _ in 0..count {
            cluster.nodes.push(
                TestInstance::start_in_cluster(&cluster.store, &cluster.broker, options.clone())
                    .await,
            );
        }
        // By now every instance has renewed its lease and knows the others.
        sleep(Duration::from_millis(1_100)).await;
        cluster
    }

    fn node(&self, index: usize) -> &TestInstance {
        &self.nodes[index]
    }

    async fn say(&self, node: usize, raid: RaidId, text: &str, op: &str) -> Result<Ack, Error> {
        self.node(node).say(raid, text, Some(op)).await
    }

    async fn chat_messages(&self, raid: RaidId) -> Vec<String> {
        let events = self
            .store
            .new_connection()
            .events(raid, Seq::ZERO, 10_000)
            .await
            .expect("the ledger");
        assert!(
            events
                .iter()
                .zip(1..)
                .all(|(event, seq)| event.seq == Seq(seq)),
            "contiguous"
        );
        let said = |event: &raidhall_protocol::Event| match &event.data {
            EventData::Said { text } => Some(text.clone()),
            _ => None,
        };
        events.iter().filter_map(said).collect()
    }

    async fn leader_change_reasons(&self, raid: RaidId) -> Vec<LeaderReason> {
        let events = self
            .store
            .new_connection()
            .events(raid, Seq::ZERO, 10_000)
            .await
            .expect("the ledger");
        let reason = |event: &raidhall_protocol::Event| match &event.data {
            EventData::LeaderChanged { reason, .. } => Some(*reason),
            _ => None,
        };
        events.iter().filter_map(reason).collect()
    }
}

async fn watch(
    instance: &TestInstance,
    raid: RaidId,
    by: u64,
    since: Option<u64>,
) -> (TestWatcher, ServerMessage) {
    let mut watcher = instance.watch(raid, by, since);
    let answer = watcher.watch_answer().await.expect("watches");
    (watcher, answer)
}

fn online_players(message: &ServerMessage) -> Vec<u64> {
    match message {
        ServerMessage::Watching { online, .. } | ServerMessage::Snapshot { online, .. } => {
            online.iter().map(|player| player.get()).collect()
        }
        other => panic!("not an answer to a watch: {other:?}"),
    }
}

/// Waits until a watch has received `count` more events, and returns their seqs.
async fn wait_for_events(watcher: &mut TestWatcher, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    let watched = timeout(Duration::from_secs(30), async {
        while seen.len() < count {
            seen.extend(watcher.take_events());
            sleep(Duration::from_millis(1)).await;
        }
    });
    watched
        .await
        .unwrap_or_else(|_| panic!("received only {seen:?}"));
    seen
}

/// Waits for `time`, and returns the presence messages that have come.
async fn presence_within(watcher: &TestWatcher, time: Duration) -> Vec<ServerMessage> {
    sleep(time).await;
    watcher.take_presence()
}

fn has_offline_players(message: &ServerMessage) -> bool {
    matches!(message, ServerMessage::Presence { offline, .. } if !offline.is_empty())
}
