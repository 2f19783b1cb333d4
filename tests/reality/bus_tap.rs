//! A stranger on the fleet's Redis, who writes down every message between instances and may say them again.

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
const CHANNELS: [&str; 2] = ["raid:*", "instance:*"];

/// A message, and the channel on which it was said.
pub type CapturedMessage = (String, Vec<u8>);

/// One who listens until this is dropped.
pub struct BusTap {
    captured: Arc<Mutex<Captured>>,
    task: JoinHandle<()>,
    publisher: MultiplexedConnection,
}

#[derive(Default)]
struct Captured {
    messages: Vec<CapturedMessage>,
    /// Those, and what was said by the eavesdropper.
    known: HashSet<CapturedMessage>,
}

impl BusTap {
    /// Listens to everything from now on.
    pub async fn attach(redis: &RedisProcess) -> BusTap {
        let client = redis::Client::open(redis.url()).expect("a url");
        let mut listening = client.get_async_pubsub().await.expect("connect to Redis");
        listening
            .psubscribe(&CHANNELS)
            .await
            .expect("listen to all");
        let heard = Arc::<Mutex<Captured>>::default();
        let noting = Arc::clone(&heard);
        let listening = tokio::spawn(async move {
            let mut messages = listening.into_on_message();
            while let Some(message) = messages.next().await {
                let overheard = (
                    message.get_channel_name().to_owned(),
                    message.get_payload_bytes().to_vec(),
                );
                let mut heard = noting.lock();
                if heard.known.insert(overheard.clone()) {
                    heard.messages.push(overheard);
                }
            }
        });
        BusTap {
            captured: heard,
            task: listening,
            publisher: redis.connect().await,
        }
    }

    /// Everything that was said by others, each once, first to last.
    pub fn captured(&self) -> Vec<CapturedMessage> {
        self.captured.lock().messages.clone()
    }

    /// Says something. Gives how many heard each.
    pub async fn publish(&self, messages: &[CapturedMessage]) -> Vec<u64> {
        self.captured.lock().known.extend(messages.iter().cloned());
        let mut publishing = redis::pipe();
        for (channel, message) in messages {
            publishing.cmd("PUBLISH").arg(channel).arg(message);
        }
        publishing
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

/// The same things in any order.
pub fn shuffled<T: std::hash::Hash>(mut things: Vec<T>) -> Vec<T> {
    let order = RandomState::new();
    let mut place = 0_u64;
    things.sort_by_cached_key(|thing| {
        place += 1;
        order.hash_one((place, thing))
    });
    things
}
