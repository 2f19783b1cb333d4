//! One instance's end of the bus.

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

/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A bus that is being driven until this is dropped.
pub struct TestBus {
    pub bus: Arc<RedisBus>,
    pub deliveries: BusInputReceiver,
    pub inbox: Channel,
    pub driver: JoinHandle<()>,
}

impl TestBus {
    /// One that has begun to connect.
    pub fn new(url: &str, cluster: bool, ca_pem: Option<&str>) -> TestBus {
        let instance = InstanceId(Uuid::now_v7());
        let ca_pem = ca_pem.map(|pem| pem.as_bytes().to_vec());
        let options = RedisOptions {
            url: url.to_owned(),
            is_cluster: cluster,
            ca_pem,
            instance,
        };
        let (bus, driver, deliveries) = RedisBus::new(options).expect("options that make sense");
        let driver = tokio::spawn(driver.run());
        TestBus {
            bus,
            deliveries,
            inbox: Channel::Inbox(instance),
            driver,
        }
    }

    /// One that works.
    pub async fn connect(url: &str) -> TestBus {
        Self::new(url, false, None).wait_until_ready().await
    }

    /// Two that work, on one server.
    pub async fn connect_pair(server: &RedisProcess) -> (TestBus, TestBus) {
        (
            Self::connect(&server.url()).await,
            Self::connect(&server.url()).await,
        )
    }

    /// Waits until it works.
    pub async fn wait_until_ready(mut self) -> TestBus {
        self.wait_until_proven(true).await;
        assert_eq!(
            self.next_delivery().await,
            BusInput::LostAll,
            "whatever was published before was missed"
        );
        self
    }

    /// Waits until the bus is, or is no more, proven.
    pub async fn wait_until_proven(&self, wanted: bool) {
        let mut proven = self.bus.watch_health();
        let changed = proven.wait_for(|proven| *proven == wanted);
        let changed = timeout(PATIENCE, changed).await.is_ok();
        assert!(
            changed,
            "not proven == {wanted} in time: {:?}",
            self.bus.down_cause()
        );
    }

    /// Subscribes as often as it takes.
    pub async fn subscribe(&self, channels: &[Channel]) {
        while self.bus.subscribe(channels).await.is_err() {
            self.wait_until_proven(true).await;
        }
    }

    /// The next delivery.
    pub async fn next_delivery(&mut self) -> BusInput {
        let next = timeout(PATIENCE, self.deliveries.next()).await;
        next.expect("a delivery in time")
            .expect("a bus that is there")
    }

    /// The next message, whatever else comes before.
    pub async fn next_message(&mut self) -> (Channel, Bytes) {
        loop {
            if let BusInput::Message(channel, message) = self.next_delivery().await {
                return (channel, message);
            }
        }
    }

    /// Publishes to a channel until as many subscriptions as that got it.
    pub async fn wait_for_subscribers(&self, channel: Channel, count: u64) {
        let reached = async {
            while self
                .bus
                .publish_counted(channel, Bytes::from_static(b"probe"))
                .await
                != Some(count)
            {
                self.wait_until_proven(true).await;
                tokio::task::yield_now().await;
            }
        };
        assert!(
            timeout(PATIENCE, reached).await.is_ok(),
            "{channel} never had {count} subscriptions"
        );
    }

    /// Publishes to a channel until another station gets it, and takes what is there.
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

/// A raid's numbered channel.
pub fn events_channel(raid: u64) -> Channel {
    Channel::Events(RaidId::try_from(raid).expect("an id"))
}

/// A raid's other channel.
pub fn live_channel(raid: u64) -> Channel {
    Channel::Live(RaidId::try_from(raid).expect("an id"))
}

/// A number as a message.
pub fn number_message(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// How many messages this process has dropped for a cause. Tests run beside each other: it may grow by others' doing.
pub fn dropped_count(cause: &str) -> u64 {
    let name = format!("raidhall_bus_dropped_total{{cause=\"{cause}\"}} ");
    let page = render_metrics();
    let value = page.lines().find_map(|line| line.strip_prefix(&name));
    value.map_or(0, |value| value.parse().expect("a count"))
}
