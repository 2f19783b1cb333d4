//! The poll that makes a lost message harmless: it reads the heads of followed raids and players'
//! streams from the store.
//!
//! Without a bus, it finds events of a player's stream whose commit lost its reply.
//!
//! It is one indexed read every five seconds, every second while the bus is unhealthy, and at once
//! when the bus reports that messages of any raid may have been missed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::cluster::client::ClusterClient;
use crate::store::Store;
use crate::streams::Streams;

/// Interval between two polls while the bus is unhealthy.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Number of [`POLL_INTERVAL`]s between two polls while the bus is healthy.
const HEALTHY_POLL_TICKS: u32 = 5;
/// Maximum number of raids or streams in one read.
const HEADS_PER_READ_MAX: usize = 5_000;

/// Task that polls the heads of followed raids.
pub struct HeadPoller {
    /// Store from which the heads are read.
    pub store: Arc<dyn Store>,
    /// Client that knows the followed raids and receives their heads.
    pub cluster: ClusterClient,
    /// Streams that clients watch at this instance.
    pub streams: Streams,
    /// Requests a poll before its time.
    pub poll_requested: Arc<Notify>,
}

impl HeadPoller {
    pub async fn run(self) {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut bus_health = self.cluster.watch_bus_health();
        let mut ticks_since_poll = 0;
        loop {
            tokio::select! { biased;
                _ = ticks.tick() => {
                    ticks_since_poll += 1;
                    if *bus_health.borrow_and_update() && ticks_since_poll < HEALTHY_POLL_TICKS {
                        continue;
                    }
                }
                () = self.poll_requested.notified() => {}
            }
            ticks_since_poll = 0;
            self.poll().await;
        }
    }

    async fn poll(&self) {
        self.poll_raids().await;
        self.poll_streams().await;
    }

    async fn poll_streams(&self) {
        for players in self.streams.followed_players().chunks(HEADS_PER_READ_MAX) {
            match self.store.stream_heads(players).await {
                Ok(heads) => {
                    for (player, head) in heads {
                        self.streams.advance(player, head);
                    }
                }
                Err(error) => {
                    return warn!(
                        ?error,
                        "reading the heads of players' streams failed; retrying at the next poll"
                    );
                }
            }
        }
    }

    async fn poll_raids(&self) {
        for raids in self.cluster.followed_raids().chunks(HEADS_PER_READ_MAX) {
            match self.store.heads(raids).await {
                Ok(heads) => {
                    for (raid, head) in heads {
                        self.cluster.dispatch_head(raid, head);
                    }
                }
                Err(error) => {
                    return warn!(
                        ?error,
                        "reading the heads of followed raids failed; retrying at the next poll"
                    );
                }
            }
        }
    }
}
