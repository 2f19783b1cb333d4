//! The bus on Redis: pub/sub on one server, sharded pub/sub on a Redis Cluster.
//!
//! Two connections, one to publish and one to receive, are opened and closed together. A probe at
//! the start and every three seconds shows that a message makes the round trip and that the server is
//! no replica. It does not show that other instances are connected to the same server: that is what
//! `jobs::peer_monitor` watches. Any doubt (an error, a timeout, a probe that does not return, a call
//! of [`Bus::reconnect`]) closes both connections, and new ones are opened with a back-off of at most
//! a second; the host name is resolved again. All wanted channels are subscribed again before the bus
//! counts as healthy, and then [`BusInput::LostAll`](super::BusInput::LostAll) reports that messages
//! may have been missed.
//!
//! The same Redis counts the limits that instances share, over a connection of their own
//! ([`SharedLimits`]).
//!
//! Redis needs no user with more rights than this one. Without the keys and the four commands for
//! them, each instance limits for itself. On one server:
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
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use self::backoff::ReconnectBackoff;
use self::connection_pair::ConnectionPair;
use self::publish_queue::{PublishQueue, QueuedMessage};
use self::server::RedisConnector;
pub use self::shared_limits::{SharedLimits, SharedLimitsDriver, shared_key};
use self::subscriptions::Subscriptions;
use super::{Bus, BusDown, BusInputReceiver, BusInputSender, Channel, bus_input_queue};
use crate::store::InstanceId;
use crate::telemetry::metrics;

/// Longest wait for the receiver count of a published message.
const PUBLISH_COUNTED_TIMEOUT: Duration = Duration::from_millis(300);
/// Longest wait for the confirmation of a subscription.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// A connection that was healthy for this long resets the reconnect back-off.
const STABLE_AFTER: Duration = Duration::from_secs(1);

/// Address and credentials of Redis, and the instance that connects to it.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://` or `rediss://` (TLS), with user and password if Redis requires them; any node of
    /// a Redis Cluster.
    pub url: String,
    /// Whether it is a Redis Cluster.
    pub is_cluster: bool,
    /// Certificate authorities, in PEM, that may sign the server's certificate; `None` means the
    /// system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Instance whose inbox is always subscribed.
    pub instance: InstanceId,
}

/// A handle of the bus. It works while its [`RedisBusDriver`] runs.
pub struct RedisBus(Arc<RedisBusShared>);

/// Task that keeps the bus connected.
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
    /// Ends the connection pair that is in use. Nothing is remembered for a later pair: only
    /// `notify_waiters` is called.
    reconnect_requested: Notify,
    /// Why the bus is down, if an attempt has failed.
    down_cause: Mutex<Option<String>>,
}

impl RedisBus {
    /// Creates a bus that connects once its driver runs. One task reads the inputs, which end with
    /// the driver.
    ///
    /// # Errors
    ///
    /// The URL or the certificates are invalid. The error does not show the password.
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
            reconnect_requested: Notify::new(),
            down_cause: Mutex::default(),
        });
        let (sender, inputs) = bus_input_queue();
        let driver = RedisBusDriver {
            server,
            shared: Arc::clone(&shared),
            inputs: sender,
        };
        Ok((Arc::new(Self(shared)), driver, inputs))
    }

    /// Returns why the bus is down, if an attempt has failed. Shows no password.
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

    fn reconnect(&self) {
        self.0.reconnect_requested.notify_waiters();
    }

    fn watch_health(&self) -> watch::Receiver<bool> {
        self.0.health.subscribe()
    }
}

impl RedisBusDriver {
    /// Connects, and reconnects, until dropped. Dropping the future closes the connections and ends
    /// the inputs.
    pub async fn run(self) {
        let mut backoff = ReconnectBackoff::default();
        let mut logged_fault = None;
        loop {
            let mark_down = MarkDownOnDrop(&self.shared);
            let mut pair = ConnectionPair::new(&self.server, &self.shared, &self.inputs);
            let fault = pair.run().await.to_string();
            if let Some(since) = pair.healthy_since() {
                logged_fault = None;
                if since.elapsed() >= STABLE_AFTER {
                    backoff = ReconnectBackoff::default();
                }
            }
            drop(pair);
            drop(mark_down);
            // While the bus stays down, the same fault is logged as a warning only once.
            if logged_fault.as_ref() == Some(&fault) {
                debug!(fault, "the bus is still down");
            } else {
                warn!(fault, "the bus is down");
                logged_fault = Some(fault.clone());
            }
            *self.shared.down_cause.lock() = Some(fault);
            sleep(backoff.next_delay()).await;
            metrics().bus_reconnects.increment(1);
        }
    }
}

/// Marks the bus as down however a connection pair ends, so that no caller goes on waiting for it.
struct MarkDownOnDrop<'a>(&'a RedisBusShared);

impl Drop for MarkDownOnDrop<'_> {
    fn drop(&mut self) {
        self.0.health.send_replace(false);
        self.0.publish_queue.close();
        self.0.subscriptions.reset();
    }
}
