//! The bus on a Redis Cluster: sharded pub/sub on every node.

use std::collections::HashMap;
use std::time::Duration;

use raidhall::cluster::bus::{Bus, BusInput, Channel};
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep};

use crate::access::USER;
use crate::proxy::{Proxy, Way};
use crate::server::RedisCluster;
use crate::station::{Station, events, live, numbered};

/// Enough for every node to have some.
const RAIDS: std::ops::RangeInclusive<u64> = 1..=60;

/// A cluster whose user may do what the documentation of the bus says, and its URL by each node.
async fn cluster() -> (RedisCluster, Vec<String>) {
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

async fn ready(url: &str) -> Station {
    Station::new(url, true, None).ready().await
}

fn channels() -> Vec<Channel> {
    RAIDS.flat_map(|raid| [events(raid), live(raid)]).collect()
}

#[tokio::test]
async fn messages_go_through_every_shard_in_order() {
    let (_cluster, urls) = cluster().await;
    let (mut hearing, speaking) = (ready(&urls[0]).await, ready(&urls[2]).await);
    hearing.subscribed(&channels()).await;
    for number in 0..20 {
        for channel in channels() {
            assert!(speaking.bus.publish(channel, numbered(number)));
        }
    }
    let mut next: HashMap<Channel, u64> = HashMap::new();
    for _ in 0..20 * channels().len() {
        let (channel, message) = hearing.message().await;
        let number = next.entry(channel).or_default();
        assert_eq!(message, numbered(*number), "on {channel}");
        *number += 1;
    }
    for raid in RAIDS {
        assert_eq!(
            speaking
                .bus
                .publish_counted(events(raid), numbered(0))
                .await,
            Some(1)
        );
        hearing.bus.unsubscribe(&[events(raid)]);
        speaking.reaches(events(raid), 0).await;
        assert_eq!(hearing.bus.subscribe(&[events(raid)]).await, Ok(()));
        assert_eq!(
            speaking
                .bus
                .publish_counted(events(raid), numbered(0))
                .await,
            Some(1)
        );
    }
}

#[tokio::test]
async fn the_restart_of_any_node_is_noticed_and_healed() {
    let (mut cluster, urls) = cluster().await;
    let (mut hearing, speaking) = (ready(&urls[0]).await, ready(&urls[0]).await);
    hearing.subscribed(&channels()).await;
    // The first is the one in the URL.
    for node in 0..cluster.nodes.len() {
        cluster.nodes[node].kill().await;
        hearing.proven(false).await;
        speaking.proven(false).await;
        cluster.nodes[node].restart().await;
        while hearing.next().await != BusInput::LostAll {}
        for raid in RAIDS {
            speaking.heard_by(&mut hearing, events(raid)).await;
        }
    }
}

#[tokio::test]
async fn a_slot_that_moves_takes_its_subscriptions_along() {
    let (cluster, urls) = cluster().await;
    let (mut hearing, speaking) = (ready(&urls[0]).await, ready(&urls[1]).await);
    hearing.subscribed(&channels()).await;
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
    let slot = slot(&mut nodes[0].0, events(7)).await;
    let target = (owner(slot) + 1) % 3;
    let id = nodes[target].1.clone();
    for order in [target, (target + 1) % 3, (target + 2) % 3] {
        let mut set = redis::cmd("CLUSTER");
        set.arg("SETSLOT").arg(slot).arg("NODE").arg(&id);
        set.exec_async(&mut nodes[order].0)
            .await
            .expect("move a slot");
    }
    speaking.heard_by(&mut hearing, events(7)).await;
    for raid in RAIDS {
        speaking.heard_by(&mut hearing, events(raid)).await;
    }
}

#[tokio::test]
async fn a_shard_in_a_black_hole_is_noticed_though_the_own_inbox_is_on_another() {
    let (cluster, urls) = cluster().await;
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
        loop {
            let slots: Value = redis::cmd("CLUSTER")
                .arg("SLOTS")
                .query_async(&mut connection)
                .await
                .expect("slots");
            let slots = format!("{slots:?}");
            if proxies
                .iter()
                .all(|proxy| slots.contains(&format!("int({})", proxy.address().port())))
            {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
    let (mut hearing, speaking) = (ready(&urls[0]).await, ready(&urls[0]).await);
    hearing.subscribed(&channels()).await;
    let inbox = slot(&mut cluster.nodes[0].connect().await, hearing.inbox).await;
    let proxy = &proxies[(owner(inbox) + 1) % 3];
    let held = Instant::now();
    proxy.hold(&[Way::ToServer, Way::ToClient]);
    hearing.proven(false).await;
    assert!(
        held.elapsed() < Duration::from_secs(7),
        "{:?}",
        held.elapsed()
    );
    proxy.release();
    while hearing.next().await != BusInput::LostAll {}
    for raid in RAIDS {
        speaking.heard_by(&mut hearing, events(raid)).await;
    }
}

async fn slot(connection: &mut MultiplexedConnection, channel: Channel) -> u16 {
    let mut key_slot = redis::cmd("CLUSTER");
    key_slot.arg("KEYSLOT").arg(channel.to_string());
    key_slot.query_async(connection).await.expect("a slot")
}

/// Which of the three nodes has a slot at first.
fn owner(slot: u16) -> usize {
    (usize::from(slot) / (16_384 / 3)).min(2)
}
