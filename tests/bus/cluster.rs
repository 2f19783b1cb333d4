//! The bus on a Redis Cluster: sharded pub/sub on every node.

use std::collections::HashMap;
use std::time::Duration;

use raidhall::cluster::bus::{Bus, BusInput, Channel};
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use crate::access::USER;
use crate::proxy::{Direction, Proxy};
use crate::server::RedisCluster;
use crate::test_bus::{TestBus, events_channel, live_channel, number_message};
use crate::wait::wait_for;

/// Enough raids for every node to hold some.
const RAIDS: std::ops::RangeInclusive<u64> = 1..=60;

/// Starts a cluster whose user has only the documented rights, and returns it with its URL at each
/// node.
async fn start_cluster() -> (RedisCluster, Vec<String>) {
    let user = format!("{USER} +cluster|slots +spublish +ssubscribe +sunsubscribe");
    let cluster = RedisCluster::start_with(&user).await;
    let url = |port| format!("redis://raidhall:hunter2@127.0.0.1:{port}");
    let urls = cluster
        .nodes
        .iter()
        .map(|node| url(node.address().port()))
        .collect();
    (cluster, urls)
}

async fn connect_bus(url: &str) -> TestBus {
    TestBus::new(url, true, None).wait_until_ready().await
}

fn raid_channels() -> Vec<Channel> {
    RAIDS
        .flat_map(|raid| [events_channel(raid), live_channel(raid)])
        .collect()
}

#[tokio::test]
async fn messages_go_through_every_shard_in_order() {
    let (_cluster, urls) = start_cluster().await;
    let (mut receiver, sender) = (connect_bus(&urls[0]).await, connect_bus(&urls[2]).await);
    receiver.subscribe(&raid_channels()).await;
    for number in 0..20 {
        for channel in raid_channels() {
            assert!(sender.bus.publish(channel, number_message(number)));
        }
    }
    let mut next: HashMap<Channel, u64> = HashMap::new();
    for _ in 0..20 * raid_channels().len() {
        let (channel, message) = receiver.next_message().await;
        let number = next.entry(channel).or_default();
        assert_eq!(message, number_message(*number), "on {channel}");
        *number += 1;
    }
    for raid in RAIDS {
        assert_eq!(
            sender
                .bus
                .publish_counted(events_channel(raid), number_message(0))
                .await,
            Some(1)
        );
        receiver.bus.unsubscribe(&[events_channel(raid)]);
        sender.wait_for_subscribers(events_channel(raid), 0).await;
        assert_eq!(
            receiver.bus.subscribe(&[events_channel(raid)]).await,
            Ok(())
        );
        assert_eq!(
            sender
                .bus
                .publish_counted(events_channel(raid), number_message(0))
                .await,
            Some(1)
        );
    }
}

#[tokio::test]
async fn a_restart_of_any_redis_node_is_detected_and_recovered() {
    let (mut cluster, urls) = start_cluster().await;
    let (mut receiver, sender) = (connect_bus(&urls[0]).await, connect_bus(&urls[0]).await);
    receiver.subscribe(&raid_channels()).await;
    // The first node is the one in the URL.
    for node in 0..cluster.nodes.len() {
        cluster.nodes[node].kill().await;
        receiver.wait_until_health_is(false).await;
        sender.wait_until_health_is(false).await;
        cluster.nodes[node].restart().await;
        while receiver.next_input().await != BusInput::LostAll {}
        for raid in RAIDS {
            sender
                .wait_for_delivery_to(&mut receiver, events_channel(raid))
                .await;
        }
    }
}

#[tokio::test]
async fn subscriptions_follow_a_moved_redis_slot() {
    let (cluster, urls) = start_cluster().await;
    let (mut receiver, sender) = (connect_bus(&urls[0]).await, connect_bus(&urls[1]).await);
    receiver.subscribe(&raid_channels()).await;
    let mut nodes = Vec::new();
    for node in &cluster.nodes {
        let mut connection = node.connect().await;
        let id: String = redis::cmd("CLUSTER")
            .arg("MYID")
            .query_async(&mut connection)
            .await
            .expect("an id");
        nodes.push((connection, id));
    }
    let slot = slot_of(&mut nodes[0].0, events_channel(7)).await;
    let target = (initial_slot_owner(slot) + 1) % 3;
    let id = nodes[target].1.clone();
    for order in [target, (target + 1) % 3, (target + 2) % 3] {
        let mut set = redis::cmd("CLUSTER");
        set.arg("SETSLOT").arg(slot).arg("NODE").arg(&id);
        set.exec_async(&mut nodes[order].0)
            .await
            .expect("move a slot");
    }
    sender
        .wait_for_delivery_to(&mut receiver, events_channel(7))
        .await;
    for raid in RAIDS {
        sender
            .wait_for_delivery_to(&mut receiver, events_channel(raid))
            .await;
    }
}

#[tokio::test]
async fn an_unreachable_shard_is_detected_without_the_inbox_on_it() {
    let (cluster, urls) = start_cluster().await;
    let mut proxies = Vec::new();
    for node in &cluster.nodes {
        let proxy = Proxy::to(node.address()).await;
        let mut announce = redis::cmd("CONFIG");
        announce
            .arg("SET")
            .arg("cluster-announce-port")
            .arg(proxy.address().port());
        announce
            .exec_async(&mut node.connect().await)
            .await
            .expect("announce the proxy");
        proxies.push(proxy);
    }
    for node in &cluster.nodes {
        let mut connection = node.connect().await;
        wait_for("the proxies' addresses", async || {
            let slots: Value = redis::cmd("CLUSTER")
                .arg("SLOTS")
                .query_async(&mut connection)
                .await
                .expect("slots");
            let slots = format!("{slots:?}");
            proxies
                .iter()
                .all(|proxy| slots.contains(&format!("int({})", proxy.address().port())))
                .then_some(())
        })
        .await;
    }
    let (mut receiver, sender) = (connect_bus(&urls[0]).await, connect_bus(&urls[0]).await);
    receiver.subscribe(&raid_channels()).await;
    let inbox = slot_of(&mut cluster.nodes[0].connect().await, receiver.inbox).await;
    let proxy = &proxies[(initial_slot_owner(inbox) + 1) % 3];
    let held = Instant::now();
    proxy.hold(&[Direction::ToServer, Direction::ToClient]);
    receiver.wait_until_health_is(false).await;
    assert!(
        held.elapsed() < Duration::from_secs(7),
        "{:?}",
        held.elapsed()
    );
    proxy.release();
    while receiver.next_input().await != BusInput::LostAll {}
    for raid in RAIDS {
        sender
            .wait_for_delivery_to(&mut receiver, events_channel(raid))
            .await;
    }
}

async fn slot_of(connection: &mut MultiplexedConnection, channel: Channel) -> u16 {
    let mut key_slot = redis::cmd("CLUSTER");
    key_slot.arg("KEYSLOT").arg(channel.to_string());
    key_slot.query_async(connection).await.expect("a slot")
}

/// Returns which of the three nodes holds a slot at first.
fn initial_slot_owner(slot: u16) -> usize {
    (usize::from(slot) / (16_384 / 3)).min(2)
}
