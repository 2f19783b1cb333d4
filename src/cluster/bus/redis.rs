//! The bus on Redis: pub/sub on one server, sharded pub/sub on a Redis Cluster.
//!
//! Two connections, one to publish and one to listen, live and die together. What is proven, at first and every five seconds, is
//! that a message of our own makes the round trip. Any doubt (an error, a time-out, a
//! message to ourselves that does not come back) ends both, and they are made anew with a back-off of at most a second.
//! Every channel that is wanted is subscribed again before the bus counts as proven, and then
//! [`BusInput::LostAll`](super::BusInput::LostAll) tells that messages may have been missed.
//!
//! Rate limits that instances share are counted there too, on a connection of their own ([`SharedLimits`]).
//!
//! Redis needs no more than this user. Without the keys and the four commands for them, each instance limits for itself. On
//! one server:
//!
//! ```text
//! ACL SETUSER raidhall on >PASSWORD resetkeys ~ratelimit:* resetchannels &raid:* &instance:* -@all +hello +ping +eval +get +set +time +publish +subscribe +unsubscribe
//! ```
//!
//! with `+select` if the URL names a database other than 0. On each node of a Redis Cluster:
//!
//! ```text
//! ACL SETUSER raidhall on >PASSWORD resetkeys ~ratelimit:* resetchannels &raid:* &instance:* -@all +hello +ping +eval +get +set +time +cluster|slots +spublish +ssubscribe +sunsubscribe
//! ```

mod backoff;
mod connection;
mod connection_pair;
mod publish_queue;
mod receiver;
mod server;
mod shared_limits;
mod subscriptions;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use self::backoff::ReconnectBackoff;
use self::connection_pair::ConnectionPair;
use self::publish_queue::{PublishQueue, QueuedMessage};
use self::server::RedisConnector;
pub use self::shared_limits::{SharedLimits, SharedLimitsDriver};
use self::subscriptions::Subscriptions;
use super::{Bus, BusDown, BusInputReceiver, BusInputSender, Channel, bus_input_queue};
use crate::store::InstanceId;
use crate::telemetry::metrics;

/// How long a counted message may take to be answered.
const PUBLISH_COUNTED_TIMEOUT: Duration = Duration::from_millis(300);
/// How long a subscription may take to be confirmed.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// A link that was proven for so long was a good one: the next may be tried without much ado.
const STABLE_AFTER: Duration = Duration::from_secs(1);

/// Where Redis is, and who we are on it.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://` or `rediss://` (TLS), with user and password if it wants them. Any node, if it is a cluster.
    pub url: String,
    /// Whether it is a Redis Cluster.
    pub is_cluster: bool,
    /// The certificates, in PEM, of those who may vouch for the server; without, the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Whose inbox is always subscribed.
    pub instance: InstanceId,
}

/// A handle of the bus. It works while its [`RedisBusDriver`] runs.
pub struct RedisBus(Arc<RedisBusShared>);

/// What keeps the bus connected.
pub struct RedisBusDriver {
    server: RedisConnector,
    shared: Arc<RedisBusShared>,
    inputs: BusInputSender,
}

struct RedisBusShared {
    inbox: Channel,
    publish_queue: PublishQueue,
    subscriptions: Subscriptions,
    health: watch::Sender<bool>,
    /// Why it is not proven now.
    down_cause: Mutex<Option<String>>,
}

impl RedisBus {
    /// A bus that connects once its driver runs. The deliveries are to be taken by one task, and end with the driver.
    ///
    /// # Errors
    ///
    /// The URL or the certificates make no sense. The error does not show the password.
    pub fn new(
        options: RedisOptions,
    ) -> anyhow::Result<(Arc<RedisBus>, RedisBusDriver, BusInputReceiver)> {
        let server = RedisConnector::new(&options)?;
        let inbox = Channel::Inbox(options.instance);
        let shared = Arc::new(RedisBusShared {
            inbox,
            publish_queue: PublishQueue::default(),
            subscriptions: Subscriptions::new(inbox),
            health: watch::Sender::new(false),
            down_cause: Mutex::default(),
        });
        let (intake, deliveries) = bus_input_queue();
        let driver = RedisBusDriver {
            server,
            shared: Arc::clone(&shared),
            inputs: intake,
        };
        Ok((Arc::new(Self(shared)), driver, deliveries))
    }

    /// Why the bus is not proven now, if an attempt has failed. Shows no password.
    pub fn down_cause(&self) -> Option<String> {
        self.0.down_cause.lock().clone()
    }
}

#[async_trait]
impl Bus for RedisBus {
    fn publish(&self, channel: Channel, message: Bytes) -> bool {
        self.0.publish_queue.push(QueuedMessage {
            channel,
            message,
            count_reply: None,
        })
    }

    async fn publish_counted(&self, channel: Channel, message: Bytes) -> Option<u64> {
        let (count, counted) = oneshot::channel();
        if !self.0.publish_queue.push(QueuedMessage {
            channel,
            message,
            count_reply: Some(count),
        }) {
            return None;
        }
        timeout(PUBLISH_COUNTED_TIMEOUT, counted).await.ok()?.ok()
    }

    async fn subscribe(&self, channels: &[Channel]) -> Result<(), BusDown> {
        let Some(confirmed) = self.0.subscriptions.subscribe(channels)? else {
            return Ok(());
        };
        timeout(SUBSCRIBE_TIMEOUT, confirmed)
            .await
            .map_err(|_| BusDown)?
            .map_err(|_| BusDown)
    }

    fn unsubscribe(&self, channels: &[Channel]) {
        self.0.subscriptions.unsubscribe(channels);
    }

    fn watch_health(&self) -> watch::Receiver<bool> {
        self.0.health.subscribe()
    }
}

impl RedisBusDriver {
    /// Connects, and connects again, for ever. Dropping the future closes the connections and ends the deliveries.
    pub async fn run(self) {
        let mut backoff = ReconnectBackoff::default();
        let mut told = None;
        loop {
            let ending = MarkDownOnDrop(&self.shared);
            let mut life = ConnectionPair::new(&self.server, &self.shared, &self.inputs);
            let fault = life.run().await.to_string();
            if let Some(since) = life.healthy_since() {
                told = None;
                if since.elapsed() >= STABLE_AFTER {
                    backoff = ReconnectBackoff::default();
                }
            }
            drop(life);
            drop(ending);
            // While it is down, the same fault again is no news.
            if told.as_ref() == Some(&fault) {
                debug!(fault, "the bus is still down");
            } else {
                warn!(fault, "the bus is down");
                told = Some(fault.clone());
            }
            *self.shared.down_cause.lock() = Some(fault);
            sleep(backoff.next_delay()).await;
            metrics().bus_reconnects.increment(1);
        }
    }
}

/// Whatever ends a life, nobody must go on to wait for it.
struct MarkDownOnDrop<'a>(&'a RedisBusShared);

impl Drop for MarkDownOnDrop<'_> {
    fn drop(&mut self) {
        self.0.health.send_replace(false);
        self.0.publish_queue.close();
        self.0.subscriptions.reset();
    }
}
