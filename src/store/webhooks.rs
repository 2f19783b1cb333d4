//! How far each webhook endpoint has got in the feed, and what it did not take.
//!
//! Bodies are not kept: the ledger has every event, and what is taken back there is not told here either.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::{RaidId, Seq, UnixMillis};

use super::audit::NewAuditEntry;
use super::feed::FeedCursor;
use super::{InstanceId, Result};

/// How far an endpoint has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointProgress {
    /// The history of the database that the place is of.
    pub lineage: String,
    /// Everything up to there was delivered, or is parked.
    pub cursor: FeedCursor,
    /// Why nothing is sent, until an operator resumes it.
    pub pause_reason: Option<String>,
}

/// A delivery that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedDelivery {
    /// Grows with each.
    pub id: u64,
    /// Of which event.
    pub raid: RaidId,
    /// Likewise.
    pub seq: Seq,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried again; none: it is dead.
    pub next_at: Option<UnixMillis>,
    /// What went wrong the last time.
    pub error: String,
    /// When it was first tried.
    pub first_failed_at: UnixMillis,
}

/// A try that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    /// Of which event.
    pub raid: RaidId,
    /// Likewise.
    pub seq: Seq,
    /// How often it was tried by now.
    pub attempts: u32,
    /// After what time it is tried again; none: never.
    pub retry_after: Option<Duration>,
    /// What went wrong.
    pub error: String,
}

/// What is noted together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgressUpdate {
    /// Everything up to there is delivered, or among the failed.
    pub cursor: Option<(String, FeedCursor)>,
    /// The ids of parked deliveries that need no more tries.
    pub settled_ids: Vec<u64>,
    /// What is to be parked, or was and stays so.
    pub failed_attempts: Vec<FailedAttempt>,
    /// Why nothing more is sent, if so.
    pub pause_reason: Option<String>,
}

/// How an endpoint stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRow {
    /// Its name.
    pub name: String,
    /// Which instance delivers to it, if one does.
    pub owner: Option<InstanceId>,
    /// Why nothing is sent to it, if so.
    pub pause_reason: Option<String>,
    /// Deliveries that wait for another try; counted up to 10,000.
    pub waiting: u64,
    /// Deliveries that are dead; likewise.
    pub dead: u64,
}

/// What an operator has delivered once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// One event, whatever became of it.
    Event(RaidId, Seq),
    /// All dead deliveries, up to 10,000.
    Dead,
}

/// The part of the store that webhooks go by.
#[async_trait]
pub trait WebhookDeliveries: Send + Sync + 'static {
    /// Becomes the one who delivers to an endpoint, if nobody living is. None: a living instance has it.
    ///
    /// An endpoint that was never seen begins at the present, as [`feed_end`](super::Feed::feed_end) tells it: it is told
    /// all that is committed from now on, and what was committed since the oldest transaction under way began may be too.
    async fn acquire_endpoint(
        &self,
        name: &str,
        instance: InstanceId,
    ) -> Result<Option<EndpointProgress>>;

    /// Gives an endpoint up.
    async fn release_endpoint(&self, name: &str, instance: InstanceId) -> Result<()>;

    /// Notes what was done, all of it or nothing. False, and nothing: another instance has the endpoint.
    async fn save_progress(
        &self,
        name: &str,
        instance: InstanceId,
        progress: &ProgressUpdate,
    ) -> Result<bool>;

    /// Parked deliveries whose time has come, the earliest first, at most `limit`.
    async fn due_deliveries(&self, name: &str, limit: u32) -> Result<Vec<ParkedDelivery>>;

    /// Parked deliveries, dead or waiting, with an id over `after`, at most `limit`.
    async fn parked_deliveries(
        &self,
        name: &str,
        dead: bool,
        after: u64,
        limit: u32,
    ) -> Result<Vec<ParkedDelivery>>;

    /// How the endpoints stand that there ever were, by name.
    async fn endpoints(&self) -> Result<Vec<EndpointRow>>;

    /// Has deliveries tried at once, as if for the first time, and records the deed with it. Gives how many.
    async fn replay_deliveries(
        &self,
        name: &str,
        what: Replay,
        deed: &NewAuditEntry,
    ) -> Result<u64>;

    /// Goes on with an endpoint that is paused, and records the deed with it. False if it is not.
    async fn resume_endpoint(&self, name: &str, deed: &NewAuditEntry) -> Result<bool>;
}

/// How many are counted, and replayed, at most.
pub(super) const COUNT_MAX: u32 = 10_000;
