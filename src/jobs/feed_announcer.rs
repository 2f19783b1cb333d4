//! Announces commits of this instance to the projector, which may be another instance.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use crate::cluster::client::ClusterClient;

/// Shortest interval between two announcements. A commit in between is part of the next one.
const INTERVAL_MIN: Duration = Duration::from_millis(20);

/// Task that announces commits.
pub struct FeedAnnouncer {
    /// Notified when this instance has committed events.
    pub committed: Arc<Notify>,
    /// Wakes the projector of this instance.
    pub feed_advanced: Arc<Notify>,
    /// Carries announcements to other instances.
    pub cluster: ClusterClient,
}

impl FeedAnnouncer {
    /// Announces commits until dropped. A lost announcement delays the projector until its next look
    /// at the feed.
    pub async fn run(self) {
        loop {
            self.committed.notified().await;
            self.feed_advanced.notify_one();
            self.cluster.announce_feed();
            sleep(INTERVAL_MIN).await;
        }
    }
}
