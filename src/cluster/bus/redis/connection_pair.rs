//! One life of the connections: made, subscribed, proven, used, and over at the first doubt.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, RedisResult};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{info, warn};

use super::super::Intake;
use super::Shared;
use super::connection::Link;
use super::receiver::Receiver;
use super::server::{ANSWER, Server, within};
use crate::telemetry::{GaugeGuard, metrics};

/// How often the bus is proven to work.
const PROVE: Duration = Duration::from_secs(5);

/// Why a life ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("cannot connect: {0}")]
    Connect(RedisError),
    #[error("cannot subscribe: {0}")]
    Subscribe(RedisError),
    #[error("cannot publish: {0}")]
    Publish(RedisError),
    #[error("a message to ourselves did not come back: {0}")]
    Unproven(RedisError),
    #[error("the server ended the connection or a subscription")]
    Broken,
}

/// A life, to be run once.
pub(super) struct Life<'a> {
    server: &'a Server,
    shared: &'a Shared,
    intake: &'a Intake,
    receiver: Arc<Receiver>,
    proven_since: Option<Instant>,
}

impl<'a> Life<'a> {
    pub(super) fn new(server: &'a Server, shared: &'a Arc<Shared>, intake: &'a Intake) -> Self {
        let receiver = Arc::new(Receiver::new(Arc::clone(shared), intake.clone()));
        Self {
            server,
            shared,
            intake,
            receiver,
            proven_since: None,
        }
    }

    /// Since when the bus works, if it came to that.
    pub(super) const fn proven_since(&self) -> Option<Instant> {
        self.proven_since
    }

    /// Lives, until something is amiss.
    pub(super) async fn run(&mut self) -> End {
        let (listening, publishing) = match self.begin().await {
            Ok(links) => links,
            Err(end) => return end,
        };
        self.proven_since = Some(Instant::now());
        let _proven = GaugeGuard::increment(&metrics().bus_proven);
        let ended = tokio::select! { biased;
            () = self.receiver.broken() => return End::Broken,
            ended = self.keep_proving(&listening, &publishing) => ended,
            ended = self.keep_subscribing(&listening) => ended,
            ended = self.keep_publishing(&publishing) => ended,
        };
        match ended {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    /// Connects, subscribes and proves. Everybody may use the bus from then on.
    async fn begin(&self) -> Result<(Link, Link), End> {
        let connecting = (
            self.server.connect(Some(&self.receiver)),
            self.server.connect(None),
        );
        let (listening, publishing) =
            tokio::try_join!(connecting.0, connecting.1).map_err(End::Connect)?;
        match publishing.nodes().await {
            Ok(nodes) => self.server.remember(nodes),
            Err(error) => warn!(%error, "the cluster's nodes are not known"),
        }
        let channels = self.shared.subscriptions.link();
        listening
            .subscribe(&channels)
            .await
            .map_err(End::Subscribe)?;
        self.prove(&listening, &publishing, 1)
            .await
            .map_err(End::Unproven)?;

        info!(channels = channels.len(), "the bus works");
        self.shared.subscriptions.linked(channels);
        self.shared.outgoing.open();
        *self.shared.fault.lock() = None;
        // Whoever hears of it reads the store, and what is published from now on arrives.
        self.intake.lost_all();
        self.shared.proven.send_replace(true);
        Ok((listening, publishing))
    }

    async fn keep_proving(&self, listening: &Link, publishing: &Link) -> Result<Infallible, End> {
        let mut ticks = interval_at(Instant::now() + PROVE, PROVE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 1;
        loop {
            ticks.tick().await;
            number += 1;
            self.prove(listening, publishing, number)
                .await
                .map_err(End::Unproven)?;
        }
    }

    /// A message to ourselves comes back, and every shard that we listen to answers: in a cluster that message passes
    /// through one of them alone.
    async fn prove(&self, listening: &Link, publishing: &Link, number: u64) -> RedisResult<()> {
        within(ANSWER, async {
            let proof = self.receiver.proof(number);
            tokio::try_join!(
                publishing.publish_one(self.shared.inbox, proof),
                listening.ping()
            )?;
            self.receiver.echoed(number).await;
            Ok(())
        })
        .await
    }

    async fn keep_subscribing(&self, listening: &Link) -> Result<Infallible, End> {
        loop {
            let round = self.shared.subscriptions.round().await;
            listening
                .subscribe(&round.subscribe)
                .await
                .map_err(End::Subscribe)?;
            listening
                .unsubscribe(&round.unsubscribe)
                .await
                .map_err(End::Subscribe)?;
            self.shared.subscriptions.done(round);
        }
    }

    async fn keep_publishing(&self, publishing: &Link) -> Result<Infallible, End> {
        loop {
            let batch = self.shared.outgoing.take().await;
            let counts = publishing
                .publish(batch.messages())
                .await
                .map_err(End::Publish)?;
            batch.done(counts);
        }
    }
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        self.receiver.end();
    }
}
