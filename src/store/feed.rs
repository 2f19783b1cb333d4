//! All raids' events in one order: that in which they were committed, so that whoever follows it misses none.

use async_trait::async_trait;
use raidhall_protocol::{Event, RaidId};

use super::Result;

/// A place in the feed. Only the database that gave it understands it, and only within its lineage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedCursor {
    /// Grows with each commit.
    pub commit: u64,
    /// The raid, where a commit wrote several.
    pub raid: u64,
    /// The event's seq, where it wrote several of one raid.
    pub seq: u64,
}

/// A stretch of the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedBatch {
    /// The history of the database that it is of.
    pub lineage: String,
    /// In order.
    pub events: Vec<(RaidId, Event)>,
    /// Behind the last of them.
    pub next: FeedCursor,
}

/// The part of the store that a host app follows.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// At most `limit` events behind a place. One raid's come in the order of their seq. An event that is not there yet
    /// comes behind every place that was ever given out.
    async fn read_feed(&self, after: FeedCursor, limit: u32) -> Result<FeedBatch>;

    /// The name of this history, and a place behind all that has been committed so far: what is committed from now on comes
    /// behind it. What was under way may, too.
    async fn feed_end(&self) -> Result<(String, FeedCursor)>;
}
