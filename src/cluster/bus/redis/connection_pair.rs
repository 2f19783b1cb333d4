//! One life of the connections: made, subscribed, proven, used, and over at the first doubt.

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

/// How often the bus is proven to work.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Why a life ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionPairError {
    #[error("cannot connect: {0}")]
    Connect(RedisError),
    #[error("cannot subscribe: {0}")]
    Subscribe(RedisError),
    #[error("cannot publish: {0}")]
    Publish(RedisError),
    #[error("a message to ourselves did not come back: {0}")]
    ProbeFailed(RedisError),
    #[error("the server ended the connection or a subscription")]
    Disconnected,
}

/// A life, to be run once.
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

    /// Since when the bus works, if it came to that.
    pub(super) const fn healthy_since(&self) -> Option<Instant> {
        self.healthy_since
    }

    /// Lives, until something is amiss.
    pub(super) async fn run(&mut self) -> ConnectionPairError {
        let (listening, publishing) = match self.establish().await {
            Ok(links) => links,
            Err(end) => return end,
        };
        self.healthy_since = Some(Instant::now());
        let _proven = GaugeGuard::increment(&metrics().bus_proven);
        let ended = tokio::select! { biased;
            () = self.receiver.wait_until_broken() => return ConnectionPairError::Disconnected,
            ended = self.probe_periodically(&listening, &publishing) => ended,
            ended = self.sync_subscriptions(&listening) => ended,
            ended = self.publish_batches(&publishing) => ended,
        };
        match ended {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    /// Connects, subscribes and proves. Everybody may use the bus from then on.
    async fn establish(&self) -> Result<(RedisConnection, RedisConnection), ConnectionPairError> {
        let connecting = (
            self.server.connect(Some(&self.receiver)),
            self.server.connect(None),
        );
        let (listening, publishing) =
            tokio::try_join!(connecting.0, connecting.1).map_err(ConnectionPairError::Connect)?;
        match publishing.cluster_nodes().await {
            Ok(nodes) => self.server.set_known_nodes(nodes),
            Err(error) => warn!(%error, "the cluster's nodes are not known"),
        }
        let channels = self.shared.subscriptions.begin_resubscribe();
        listening
            .subscribe(&channels)
            .await
            .map_err(ConnectionPairError::Subscribe)?;
        self.probe(&listening, &publishing, 1)
            .await
            .map_err(ConnectionPairError::ProbeFailed)?;

        info!(channels = channels.len(), "the bus works");
        self.shared.subscriptions.finish_resubscribe(channels);
        self.shared.publish_queue.open();
        *self.shared.down_cause.lock() = None;
        // Whoever hears of it reads the store, and what is published from now on arrives.
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

    /// A message to ourselves comes back, and every shard that we listen to answers: in a cluster that message passes
    /// through one of them alone.
    async fn probe(
        &self,
        listening: &RedisConnection,
        publishing: &RedisConnection,
        number: u64,
    ) -> RedisResult<()> {
        with_timeout(RESPONSE_TIMEOUT, async {
            let proof = self.receiver.probe_message(number);
            tokio::try_join!(
                publishing.publish_one(self.shared.inbox, proof),
                listening.ping()
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
            let round = self.shared.subscriptions.next_diff().await;
            listening
                .subscribe(&round.subscribe)
                .await
                .map_err(ConnectionPairError::Subscribe)?;
            listening
                .unsubscribe(&round.unsubscribe)
                .await
                .map_err(ConnectionPairError::Subscribe)?;
            self.shared.subscriptions.confirm(round);
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
