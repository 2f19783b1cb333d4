//! One connection pair: connected, subscribed, probed, used, and closed at the first doubt.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, RedisResult};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{info, warn};

use super::super::BusInputSender;
use super::RedisBusShared;
use super::connection::RedisConnection;
use super::receiver::PushReceiver;
use super::server::{RESPONSE_TIMEOUT, RedisConnector, with_timeout};
use crate::telemetry::{GaugeGuard, metrics};

/// Interval between two probes.
const PROBE_INTERVAL: Duration = Duration::from_secs(3);

/// Reason why a connection pair ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionPairError {
    #[error("cannot connect: {0}")]
    Connect(RedisError),
    #[error("cannot subscribe: {0}")]
    Subscribe(RedisError),
    #[error("cannot publish: {0}")]
    Publish(RedisError),
    #[error("the probe did not return: {0}")]
    ProbeFailed(RedisError),
    #[error("the server ended the connection or a subscription")]
    Disconnected,
    #[error("a new connection was requested, because this server may be the wrong one")]
    ReconnectRequested,
}

/// A pair of connections, which is run once.
pub(super) struct ConnectionPair<'a> {
    server: &'a RedisConnector,
    shared: &'a RedisBusShared,
    inputs: &'a BusInputSender,
    receiver: Arc<PushReceiver>,
    healthy_since: Option<Instant>,
}

impl<'a> ConnectionPair<'a> {
    pub(super) fn new(
        server: &'a RedisConnector,
        shared: &'a Arc<RedisBusShared>,
        inputs: &'a BusInputSender,
    ) -> Self {
        let receiver = Arc::new(PushReceiver::new(Arc::clone(shared), inputs.clone()));
        Self {
            server,
            shared,
            inputs,
            receiver,
            healthy_since: None,
        }
    }

    /// Returns when the bus became healthy; `None` if it never did.
    pub(super) const fn healthy_since(&self) -> Option<Instant> {
        self.healthy_since
    }

    /// Runs the pair until one of these ends it:
    ///
    /// - the server closes a connection or withdraws a subscription,
    /// - a reconnect is requested,
    /// - a probe fails,
    /// - a change of subscriptions fails,
    /// - publishing fails.
    pub(super) async fn run(&mut self) -> ConnectionPairError {
        let (listening, publishing) = match self.establish().await {
            Ok(connections) => connections,
            Err(error) => return error,
        };
        self.healthy_since = Some(Instant::now());
        let _healthy = GaugeGuard::increment(&metrics().bus_proven);
        let ended = tokio::select! { biased;
            () = self.receiver.wait_until_broken() => return ConnectionPairError::Disconnected,
            () = self.shared.reconnect_requested.notified() => {
                return ConnectionPairError::ReconnectRequested;
            }
            ended = self.probe_periodically(&listening, &publishing) => ended,
            ended = self.sync_subscriptions(&listening) => ended,
            ended = self.publish_batches(&publishing) => ended,
        };
        match ended {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    /// Connects, subscribes and probes. From then on the bus may be used.
    async fn establish(&self) -> Result<(RedisConnection, RedisConnection), ConnectionPairError> {
        let (listening, publishing) = tokio::try_join!(
            self.server.connect(Some(&self.receiver)),
            self.server.connect(None),
        )
        .map_err(ConnectionPairError::Connect)?;
        match publishing.cluster_nodes().await {
            Ok(nodes) => self.server.set_known_nodes(nodes),
            Err(error) => {
                warn!(%error, "reading the cluster's nodes failed; the known ones stay in use")
            }
        }
        let channels = self.shared.subscriptions.begin_resubscribe();
        listening
            .subscribe(&channels)
            .await
            .map_err(ConnectionPairError::Subscribe)?;
        self.probe(&listening, &publishing, 1)
            .await
            .map_err(ConnectionPairError::ProbeFailed)?;

        info!(channels = channels.len(), "the bus is healthy");
        self.shared.subscriptions.finish_resubscribe(channels);
        self.shared.publish_queue.open();
        *self.shared.down_cause.lock() = None;
        // After this mark receivers read the store; messages published from now on arrive.
        self.inputs.mark_all_lost();
        self.shared.health.send_replace(true);
        Ok((listening, publishing))
    }

    async fn probe_periodically(
        &self,
        listening: &RedisConnection,
        publishing: &RedisConnection,
    ) -> Result<Infallible, ConnectionPairError> {
        let mut ticks = interval_at(Instant::now() + PROBE_INTERVAL, PROBE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 1;
        loop {
            ticks.tick().await;
            number += 1;
            self.probe(listening, publishing, number)
                .await
                .map_err(ConnectionPairError::ProbeFailed)?;
        }
    }

    /// Publishes a probe and waits for its return, and checks every shard that the pair receives
    /// from: in a cluster the probe passes through only one of them. A single server may have become
    /// a replica since the last probe.
    async fn probe(
        &self,
        listening: &RedisConnection,
        publishing: &RedisConnection,
        number: u64,
    ) -> RedisResult<()> {
        with_timeout(RESPONSE_TIMEOUT, async {
            let probe = self.receiver.probe_message(number);
            tokio::try_join!(
                publishing.publish_one(self.shared.inbox, probe),
                publishing.check(),
                listening.check()
            )?;
            self.receiver.wait_for_probe(number).await;
            Ok(())
        })
        .await
    }

    async fn sync_subscriptions(
        &self,
        listening: &RedisConnection,
    ) -> Result<Infallible, ConnectionPairError> {
        loop {
            let diff = self.shared.subscriptions.next_diff().await;
            listening
                .subscribe(&diff.subscribe)
                .await
                .map_err(ConnectionPairError::Subscribe)?;
            listening
                .unsubscribe(&diff.unsubscribe)
                .await
                .map_err(ConnectionPairError::Subscribe)?;
            self.shared.subscriptions.confirm(diff);
        }
    }

    async fn publish_batches(
        &self,
        publishing: &RedisConnection,
    ) -> Result<Infallible, ConnectionPairError> {
        loop {
            let batch = self.shared.publish_queue.next_batch().await;
            let counts = publishing
                .publish(batch.messages())
                .await
                .map_err(ConnectionPairError::Publish)?;
            batch.complete(counts);
        }
    }
}

impl Drop for ConnectionPair<'_> {
    fn drop(&mut self) {
        self.receiver.close();
    }
}
