//! A tap on the cluster's Redis that captures every message between instances and can publish
//! messages of its own.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use futures_util::StreamExt;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;

use crate::redis::RedisProcess;

/// The channels that instances use.
const CHANNELS: [&str; 4] = ["raid:*", "player:*", "feed", "instance:*"];

/// A captured message with its channel.
pub type CapturedMessage = (String, Vec<u8>);

/// A subscriber to all channels, which captures messages until it is dropped.
pub struct BusTap {
    captured: Arc<Mutex<Captured>>,
    task: JoinHandle<()>,
    publisher: MultiplexedConnection,
}

#[derive(Default)]
struct Captured {
    messages: Vec<CapturedMessage>,
    /// The captured messages, and those that the tap published itself.
    known: HashSet<CapturedMessage>,
}

impl BusTap {
    /// Captures all messages from now on.
    pub async fn attach(redis: &RedisProcess) -> BusTap {
        let client = redis::Client::open(redis.url()).expect("a url");
        let mut pubsub = client.get_async_pubsub().await.expect("connect to Redis");
        pubsub
            .psubscribe(&CHANNELS)
            .await
            .expect("subscribe to all channels");
        let captured = Arc::<Mutex<Captured>>::default();
        let capturing = Arc::clone(&captured);
        let task = tokio::spawn(async move {
            let mut messages = pubsub.into_on_message();
            while let Some(message) = messages.next().await {
                let message_on_channel = (
                    message.get_channel_name().to_owned(),
                    message.get_payload_bytes().to_vec(),
                );
                let mut captured = capturing.lock();
                if captured.known.insert(message_on_channel.clone()) {
                    captured.messages.push(message_on_channel);
                }
            }
        });
        BusTap {
            captured,
            task,
            publisher: redis.connect().await,
        }
    }

    /// Returns every captured message once, in order, without those that the tap published.
    pub fn captured(&self) -> Vec<CapturedMessage> {
        self.captured.lock().messages.clone()
    }

    /// Publishes messages. Returns the number of receivers of each.
    pub async fn publish(&self, messages: &[CapturedMessage]) -> Vec<u64> {
        self.captured.lock().known.extend(messages.iter().cloned());
        let mut pipeline = redis::pipe();
        for (channel, message) in messages {
            pipeline.cmd("PUBLISH").arg(channel).arg(message);
        }
        pipeline
            .query_async(&mut self.publisher.clone())
            .await
            .expect("publish")
    }
}

impl Drop for BusTap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns the elements in random order.
pub fn shuffled<T: std::hash::Hash>(mut elements: Vec<T>) -> Vec<T> {
    let order = RandomState::new();
    let mut index = 0_u64;
    elements.sort_by_cached_key(|element| {
        index += 1;
        order.hash_one((index, element))
    });
    elements
}
