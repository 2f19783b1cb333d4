//! The bus on Redis: pub/sub on one server, sharded pub/sub on a Redis Cluster.
//!
//! Two connections, one to publish and one to listen, live and die together. What is proven, at first and every five seconds, is
//! that a message of our own makes the round trip. Any doubt (an error, a time-out, a
//! message to ourselves that does not come back) ends both, and they are made anew with a back-off of at most a second.
//! Every channel that is wanted is subscribed again before the bus counts as proven, and then
//! [`Delivery::LostAll`](super::Delivery::LostAll) tells that messages may have been missed.
//!
//! Rate limits that instances share are counted there too, on a connection of their own ([`Allowances`]).
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

use self::backoff::Backoff;
use self::connection_pair::Life;
use self::publish_queue::{Outgoing, Queued};
use self::server::Server;
pub use self::shared_limits::{Allowances, Keeper};
use self::subscriptions::Subscriptions;
use super::{Bus, BusDown, Channel, Deliveries, Intake, intake};
use crate::store::InstanceId;
use crate::telemetry::metrics;

/// How long a counted message may take to be answered.
const COUNT: Duration = Duration::from_millis(300);
/// How long a subscription may take to be confirmed.
const CONFIRM: Duration = Duration::from_millis(1_500);
/// A link that was proven for so long was a good one: the next may be tried without much ado.
const GOOD: Duration = Duration::from_secs(1);

/// Where Redis is, and who we are on it.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://` or `rediss://` (TLS), with user and password if it wants them. Any node, if it is a cluster.
    pub url: String,
    /// Whether it is a Redis Cluster.
    pub cluster: bool,
    /// The certificates, in PEM, of those who may vouch for the server; without, the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Whose inbox is always subscribed.
    pub instance: InstanceId,
}

/// A handle of the bus. It works while its [`Driver`] runs.
pub struct RedisBus(Arc<Shared>);

/// What keeps the bus connected.
pub struct Driver {
    server: Server,
    shared: Arc<Shared>,
    intake: Intake,
}

struct Shared {
    inbox: Channel,
    outgoing: Outgoing,
    subscriptions: Subscriptions,
    proven: watch::Sender<bool>,
    /// Why it is not proven now.
    fault: Mutex<Option<String>>,
}

impl RedisBus {
    /// A bus that connects once its driver runs. The deliveries are to be taken by one task, and end with the driver.
    ///
    /// # Errors
    ///
    /// The URL or the certificates make no sense. The error does not show the password.
    pub fn new(options: RedisOptions) -> anyhow::Result<(Arc<RedisBus>, Driver, Deliveries)> {
        let server = Server::new(&options)?;
        let inbox = Channel::Inbox(options.instance);
        let shared = Arc::new(Shared {
            inbox,
            outgoing: Outgoing::default(),
            subscriptions: Subscriptions::new(inbox),
            proven: watch::Sender::new(false),
            fault: Mutex::default(),
        });
        let (intake, deliveries) = intake();
        let driver = Driver {
            server,
            shared: Arc::clone(&shared),
            intake,
        };
        Ok((Arc::new(Self(shared)), driver, deliveries))
    }

    /// Why the bus is not proven now, if an attempt has failed. Shows no password.
    pub fn fault(&self) -> Option<String> {
        self.0.fault.lock().clone()
    }
}

#[async_trait]
impl Bus for RedisBus {
    fn publish(&self, channel: Channel, message: Bytes) -> bool {
        self.0.outgoing.push(Queued {
            channel,
            message,
            count: None,
        })
    }

    async fn publish_counted(&self, channel: Channel, message: Bytes) -> Option<u64> {
        let (count, counted) = oneshot::channel();
        if !self.0.outgoing.push(Queued {
            channel,
            message,
            count: Some(count),
        }) {
            return None;
        }
        timeout(COUNT, counted).await.ok()?.ok()
    }

    async fn subscribe(&self, channels: &[Channel]) -> Result<(), BusDown> {
        let Some(confirmed) = self.0.subscriptions.want(channels)? else {
            return Ok(());
        };
        timeout(CONFIRM, confirmed)
            .await
            .map_err(|_| BusDown)?
            .map_err(|_| BusDown)
    }

    fn unsubscribe(&self, channels: &[Channel]) {
        self.0.subscriptions.unwant(channels);
    }

    fn proven(&self) -> watch::Receiver<bool> {
        self.0.proven.subscribe()
    }
}

impl Driver {
    /// Connects, and connects again, for ever. Dropping the future closes the connections and ends the deliveries.
    pub async fn run(self) {
        let mut backoff = Backoff::default();
        let mut told = None;
        loop {
            let ending = Ending(&self.shared);
            let mut life = Life::new(&self.server, &self.shared, &self.intake);
            let fault = life.run().await.to_string();
            if let Some(since) = life.proven_since() {
                told = None;
                if since.elapsed() >= GOOD {
                    backoff = Backoff::default();
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
            *self.shared.fault.lock() = Some(fault);
            sleep(backoff.next()).await;
            metrics().bus_reconnects.increment(1);
        }
    }
}

/// Whatever ends a life, nobody must go on to wait for it.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.proven.send_replace(false);
        self.0.outgoing.close();
        self.0.subscriptions.unlink();
    }
}
