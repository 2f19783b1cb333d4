//! One instance's connection to the bus, as tests use it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raidhall::cluster::bus::redis::{RedisBus, RedisOptions};
use raidhall::cluster::bus::{Bus, BusInput, BusInputReceiver, Channel};
use raidhall::store::InstanceId;
use raidhall::telemetry::render_metrics;
use raidhall_protocol::RaidId;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::server::RedisProcess;
use crate::wait::wait_for;

/// Longer than any wait in these tests.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A bus whose driver runs until this is dropped.
pub struct TestBus {
    pub bus: Arc<RedisBus>,
    pub inputs: BusInputReceiver,
    pub inbox: Channel,
    pub driver: JoinHandle<()>,
}

impl TestBus {
    /// Creates a bus that has begun to connect.
    pub fn new(url: &str, cluster: bool, ca_pem: Option<&str>) -> TestBus {
        let instance = InstanceId(Uuid::now_v7());
        let ca_pem = ca_pem.map(|pem| pem.as_bytes().to_vec());
        let options = RedisOptions {
            url: url.to_owned(),
            is_cluster: cluster,
            ca_pem,
            instance,
        };
        let (bus, driver, inputs) = RedisBus::new(options).expect("valid options");
        let driver = tokio::spawn(driver.run());
        TestBus {
            bus,
            inputs,
            inbox: Channel::Inbox(instance),
            driver,
        }
    }

    /// Creates a healthy bus on one server.
    pub async fn connect(url: &str) -> TestBus {
        Self::new(url, false, None).wait_until_ready().await
    }

    /// Creates two healthy buses on one server.
    pub async fn connect_pair(server: &RedisProcess) -> (TestBus, TestBus) {
        (
            Self::connect(&server.url()).await,
            Self::connect(&server.url()).await,
        )
    }

    /// Waits until the bus is healthy.
    pub async fn wait_until_ready(mut self) -> TestBus {
        self.wait_until_health_is(true).await;
        assert_eq!(
            self.next_input().await,
            BusInput::LostAll,
            "earlier messages were missed"
        );
        self
    }

    /// Waits until the bus is healthy, or is not.
    pub async fn wait_until_health_is(&self, wanted: bool) {
        let mut health = self.bus.watch_health();
        let changed = health.wait_for(|healthy| *healthy == wanted);
        let changed = timeout(WAIT_MAX, changed).await.is_ok();
        assert!(
            changed,
            "not healthy == {wanted} in time: {:?}",
            self.bus.down_cause()
        );
    }

    /// Subscribes as often as it takes to succeed.
    pub async fn subscribe(&self, channels: &[Channel]) {
        wait_for("a subscription", async || {
            self.bus.subscribe(channels).await.ok()
        })
        .await;
    }

    /// Returns the next input of the bus.
    pub async fn next_input(&mut self) -> BusInput {
        let next = timeout(WAIT_MAX, self.inputs.next()).await;
        next.expect("a delivery in time")
            .expect("a bus that is there")
    }

    /// Returns the next message, skipping other inputs.
    pub async fn next_message(&mut self) -> (Channel, Bytes) {
        loop {
            if let BusInput::Message(channel, message) = self.next_input().await {
                return (channel, message);
            }
        }
    }

    /// Publishes to a channel until `count` subscriptions receive the message.
    pub async fn wait_for_subscribers(&self, channel: Channel, count: u64) {
        let reached = async {
            while self
                .bus
                .publish_counted(channel, Bytes::from_static(b"probe"))
                .await
                != Some(count)
            {
                self.wait_until_health_is(true).await;
                tokio::task::yield_now().await;
            }
        };
        assert!(
            timeout(WAIT_MAX, reached).await.is_ok(),
            "{channel} never had {count} subscriptions"
        );
    }

    /// Publishes to a channel until `other` receives it, and then skips to that message.
    pub async fn wait_for_delivery_to(&self, other: &mut TestBus, channel: Channel) {
        self.wait_for_subscribers(channel, 1).await;
        while other.next_message().await != (channel, Bytes::from_static(b"probe")) {}
    }
}

impl Drop for TestBus {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Returns the channel of a raid's events.
pub fn events_channel(raid: u64) -> Channel {
    Channel::Events(RaidId::try_from(raid).expect("an id"))
}

/// Returns the channel of a raid's presence and signals.
pub fn live_channel(raid: u64) -> Channel {
    Channel::Live(RaidId::try_from(raid).expect("an id"))
}

/// Encodes a number as a message.
pub fn number_message(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// Returns how many messages this process has dropped for a cause. Tests run side by side, so
/// others may raise it too.
pub fn dropped_count(cause: &str) -> u64 {
    let name = format!("raidhall_bus_dropped_total{{cause=\"{cause}\"}} ");
    let page = render_metrics();
    let value = page.lines().find_map(|line| line.strip_prefix(&name));
    value.map_or(0, |value| value.parse().expect("a count"))
}
