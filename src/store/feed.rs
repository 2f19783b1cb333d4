//! The feed: all raids' events in one order, that of their commits, so that a reader of the feed
//! misses none.

use async_trait::async_trait;
use raidhall_protocol::{Event, RaidId};

use super::Result;
use crate::progression::DefinitionsNumber;

/// A place in the feed. Its numbers have a meaning only in the database that returned it, and only
/// within that database's lineage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedCursor {
    /// A number that grows with each commit.
    pub commit: u64,
    /// The raid, to tell apart several raids of one commit.
    pub raid: u64,
    /// The event's seq, to tell apart several events of one raid in one commit.
    pub seq: u64,
}

/// An event of a raid, with what is known of its commit.
#[derive(Debug, Clone, PartialEq)]
pub struct CommittedEvent {
    /// The raid of the event.
    pub raid: RaidId,
    pub event: Event,
    /// The number of the definitions in force for the event.
    pub definitions: DefinitionsNumber,
}

/// One page of the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedBatch {
    /// The lineage of the database that the page is from.
    pub lineage: String,
    /// The events in the order of the feed.
    pub events: Vec<CommittedEvent>,
    /// The cursor behind the last event, to be passed to the next read.
    pub next: FeedCursor,
}

/// A transaction that writes and is not at its end. The feed ends before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTransaction {
    /// The transaction's number; a later one has a larger number.
    pub id: u64,
    /// The server process that runs it; `None` for a prepared one, or if this role may not see it.
    pub pid: Option<i32>,
    /// The database that it writes to, if this role may see it.
    pub database: Option<String>,
}

/// The feed of the store, which a host app follows.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// Reads at most `limit` events behind a cursor. Events of one raid come in the order of their
    /// seqs. **An event that is committed later comes behind every cursor that was ever returned.**
    async fn read_feed(&self, after: FeedCursor, limit: u32) -> Result<FeedBatch>;

    /// Returns the lineage and a cursor behind all that has been committed so far: what is
    /// committed from now on comes behind it. Transactions in flight may have written events that
    /// come behind it, too.
    async fn feed_end(&self) -> Result<(String, FeedCursor)>;

    /// Returns the oldest transaction that is open, if later ones have ended, for which the feed
    /// waits.
    async fn oldest_open_transaction(&self) -> Result<Option<OpenTransaction>> {
        Ok(None)
    }
}
