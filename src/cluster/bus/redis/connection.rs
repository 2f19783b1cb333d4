//! A connection to one Redis server or to all nodes of a Redis Cluster, with the same few commands.

use std::collections::HashMap;

use futures_util::stream::{self, TryStreamExt};
use futures_util::{StreamExt, future};
use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, FromRedisValue, Pipeline, RedisResult, Value};

use super::super::Channel;
use super::publish_queue::QueuedMessage;
use super::server::{RESPONSE_TIMEOUT, with_timeout};

/// Maximum number of channels in one command, and of commands at once.
const CHUNK: usize = 500;

/// A connection to Redis. Clones share it; it closes when the last one is dropped.
#[derive(Clone)]
pub(super) enum RedisConnection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

#[derive(Clone, Copy)]
enum SubscriptionChange {
    Subscribe,
    Unsubscribe,
}

impl RedisConnection {
    /// Publishes in one round trip, in order within each channel, and returns how many
    /// subscriptions received each message.
    pub(super) async fn publish(&self, batch: &[QueuedMessage]) -> RedisResult<Vec<u64>> {
        match self {
            Self::Single(connection) => {
                let mut pipeline = Pipeline::with_capacity(batch.len());
                for queued in batch {
                    add_publish(&mut pipeline, "PUBLISH", queued);
                }
                with_timeout(
                    RESPONSE_TIMEOUT,
                    pipeline.query_async(&mut connection.clone()),
                )
                .await
            }
            Self::Cluster(connection) => publish_sharded(connection, batch).await,
        }
    }

    /// Publishes one message to a channel.
    pub(super) async fn publish_one(&self, channel: Channel, message: Vec<u8>) -> RedisResult<()> {
        let queued = QueuedMessage {
            channel,
            message: message.into(),
            count_reply: None,
        };
        self.publish(&[queued]).await.map(drop)
    }

    /// Subscribes, and waits until the server has confirmed every channel.
    pub(super) async fn subscribe(&self, channels: &[Channel]) -> RedisResult<()> {
        self.change_subscriptions(SubscriptionChange::Subscribe, channels)
            .await
    }

    /// Unsubscribes, and waits until the server has confirmed every channel.
    pub(super) async fn unsubscribe(&self, channels: &[Channel]) -> RedisResult<()> {
        self.change_subscriptions(SubscriptionChange::Unsubscribe, channels)
            .await
    }

    /// Sends a command to the node that has its key, and returns the response.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Single(connection) => command.query_async(&mut connection.clone()).await,
            Self::Cluster(connection) => command.query_async(&mut connection.clone()).await,
        }
    }

    /// Sends commands, each to the node that has its key, in one round trip, and returns the
    /// responses in their order.
    pub(super) async fn query_all<T: FromRedisValue>(
        &self,
        commands: &[Cmd],
    ) -> RedisResult<Vec<T>> {
        match self {
            Self::Single(connection) => {
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command.clone());
                }
                pipeline.query_async(&mut connection.clone()).await
            }
            Self::Cluster(_) => {
                future::try_join_all(commands.iter().map(|command| self.query(command))).await
            }
        }
    }

    /// Checks that every shard responds, or that the server does and is no replica: what is
    /// published to a replica does not reach the clients of the others.
    pub(super) async fn check(&self) -> RedisResult<()> {
        match self {
            Self::Single(connection) => {
                let mut connection = connection.clone();
                let hello = redis::cmd("HELLO");
                let properties: HashMap<String, Value> =
                    with_timeout(RESPONSE_TIMEOUT, hello.query_async(&mut connection)).await?;
                let role = properties.get("role").cloned().map(redis::from_redis_value);
                match role.transpose()? {
                    Some::<String>(role) if role != "master" => {
                        Err(std::io::Error::other(format!("the server is a {role}")).into())
                    }
                    _ => Ok(()),
                }
            }
            Self::Cluster(connection) => {
                let ping = redis::cmd("PING");
                with_timeout(RESPONSE_TIMEOUT, ping.exec_async(&mut connection.clone())).await
            }
        }
    }

    /// Returns the addresses of a cluster's nodes; none for a single server.
    pub(super) async fn cluster_nodes(&self) -> RedisResult<Vec<(String, u16)>> {
        let Self::Cluster(connection) = self else {
            return Ok(Vec::new());
        };
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("SLOTS");
        let any = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
        let answer = with_timeout(
            RESPONSE_TIMEOUT,
            connection.clone().route_command(slots, any),
        )
        .await?;
        let mut nodes = parse_cluster_slots(answer.extract_error()?);
        nodes.sort_unstable();
        nodes.dedup();
        Ok(nodes)
    }

    async fn change_subscriptions(
        &self,
        change: SubscriptionChange,
        channels: &[Channel],
    ) -> RedisResult<()> {
        match self {
            Self::Single(connection) => {
                for chunk in channels.chunks(CHUNK) {
                    let mut connection = connection.clone();
                    let names: Vec<_> = chunk.iter().map(Channel::to_string).collect();
                    match change {
                        SubscriptionChange::Subscribe => {
                            with_timeout(RESPONSE_TIMEOUT, connection.subscribe(names)).await?
                        }
                        SubscriptionChange::Unsubscribe => {
                            with_timeout(RESPONSE_TIMEOUT, connection.unsubscribe(names)).await?
                        }
                    }
                }
                Ok(())
            }
            Self::Cluster(connection) => {
                // All channels of one command must be in one slot.
                let groups = group_by_slot(channels.iter().copied(), |channel| *channel);
                let send = |channels: Vec<Channel>| {
                    let mut connection = connection.clone();
                    async move {
                        let names: Vec<_> = channels.iter().map(Channel::to_string).collect();
                        match change {
                            SubscriptionChange::Subscribe => {
                                with_timeout(RESPONSE_TIMEOUT, connection.ssubscribe(names)).await
                            }
                            SubscriptionChange::Unsubscribe => {
                                with_timeout(RESPONSE_TIMEOUT, connection.sunsubscribe(names)).await
                            }
                        }
                    }
                };
                stream::iter(groups)
                    .map(send)
                    .buffer_unordered(CHUNK)
                    .try_collect()
                    .await
            }
        }
    }
}

async fn publish_sharded(
    connection: &ClusterConnection,
    batch: &[QueuedMessage],
) -> RedisResult<Vec<u64>> {
    let groups = group_by_slot(0..batch.len(), |index| batch[*index].channel);
    let publishing = groups.iter().map(|indices| {
        let mut pipeline = Pipeline::with_capacity(indices.len());
        for index in indices {
            add_publish(&mut pipeline, "SPUBLISH", &batch[*index]);
        }
        let mut connection = connection.clone();
        async move {
            with_timeout(
                RESPONSE_TIMEOUT,
                pipeline.query_async::<Vec<u64>>(&mut connection),
            )
            .await
        }
    });
    let responses = future::try_join_all(publishing).await?;
    let mut counts = vec![0; batch.len()];
    for (index, count) in groups
        .into_iter()
        .flatten()
        .zip(responses.into_iter().flatten())
    {
        counts[index] = count;
    }
    Ok(counts)
}

fn add_publish(pipeline: &mut Pipeline, command: &str, queued: &QueuedMessage) {
    pipeline
        .cmd(command)
        .arg(queued.channel.to_string())
        .arg(&queued.message[..]);
}

/// Groups items whose channels are sure to share a slot: a raid's two channels, or an instance's
/// inbox. Keeps the order within each group.
fn group_by_slot<T>(
    items: impl Iterator<Item = T>,
    channel: impl Fn(&T) -> Channel,
) -> Vec<Vec<T>> {
    let mut groups: HashMap<Channel, Vec<T>> = HashMap::new();
    for item in items {
        let slot_channel = match channel(&item) {
            Channel::Live(raid) => Channel::Events(raid),
            other => other,
        };
        groups.entry(slot_channel).or_default().push(item);
    }
    groups.into_values().collect()
}

/// Parses the response to `CLUSTER SLOTS`: `[[first slot, last slot, [host, port, …], …], …]`.
fn parse_cluster_slots(answer: Value) -> Vec<(String, u16)> {
    let ranges = into_array(answer);
    let nodes = ranges
        .into_iter()
        .flat_map(|range| into_array(range).into_iter().skip(2).map(into_array));
    nodes
        .filter_map(|node| match &node[..] {
            [Value::BulkString(host), Value::Int(port), ..] if !host.is_empty() && host != b"?" => {
                Some((
                    String::from_utf8(host.clone()).ok()?,
                    u16::try_from(*port).ok()?,
                ))
            }
            _ => None,
        })
        .collect()
}

fn into_array(value: Value) -> Vec<Value> {
    if let Value::Array(items) = value {
        items
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use raidhall_protocol::RaidId;

    use super::*;

    #[test]
    fn channels_of_one_raid_share_a_shard_and_keep_their_order() {
        let raid = |id: u64| RaidId::try_from(id).expect("an id");
        let channels = [
            Channel::Live(raid(1)),
            Channel::Events(raid(2)),
            Channel::Events(raid(1)),
            Channel::Live(raid(1)),
        ];
        let mut groups = group_by_slot(0..channels.len(), |index| channels[*index]);
        groups.sort();
        assert_eq!(groups, [vec![0, 2, 3], vec![1]]);
    }

    #[test]
    fn redis_nodes_are_read_from_the_slots_and_odd_entries_skipped() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |host: &str, port| Value::Array(vec![text(host), Value::Int(port), text("id")]);
        let range =
            |nodes: Vec<Value>| Value::Array([vec![Value::Int(0), Value::Int(9)], nodes].concat());
        let answer = Value::Array(vec![
            range(vec![node("10.0.0.1", 7000), node("10.0.0.2", 7001)]),
            range(vec![
                node("", 7002),
                node("?", 7003),
                node("10.0.0.3", 70_000),
                Value::Nil,
            ]),
            Value::Nil,
        ]);
        assert_eq!(
            parse_cluster_slots(answer),
            [("10.0.0.1".to_owned(), 7000), ("10.0.0.2".to_owned(), 7001)]
        );
        assert_eq!(parse_cluster_slots(Value::Okay), []);
    }
}
