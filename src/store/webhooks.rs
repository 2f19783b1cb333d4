//! Webhook deliveries: each endpoint's progress in the feed, and the deliveries that failed.
//!
//! Bodies are not stored: they are made from the ledger, so a text that was erased there is not
//! delivered either.

use async_trait::async_trait;
use raidhall_protocol::{RaidId, Seq, UnixMillis};

use super::audit::NewAuditEntry;
use super::feed::FeedCursor;
use super::{InstanceId, Result};

/// Progress of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointProgress {
    /// The lineage of the database that the cursor is from.
    pub lineage: String,
    /// The feed cursor up to which every event was delivered or is parked.
    pub cursor: FeedCursor,
    /// Reason why deliveries are paused until an operator resumes the endpoint; `None` if they are
    /// not.
    pub pause_reason: Option<String>,
}

/// A delivery that failed, and waits for another attempt or is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedDelivery {
    /// Number of the parked delivery; a later one has a larger number.
    pub id: u64,
    /// The raid of the event.
    pub raid: RaidId,
    /// The seq of the event.
    pub seq: Seq,
    /// Number of attempts so far.
    pub attempts: u32,
    /// When the next attempt is due; `None` if the delivery is dead.
    pub next_at: Option<UnixMillis>,
    /// Error of the last attempt.
    pub error: String,
    /// When the delivery was parked.
    pub first_failed_at: UnixMillis,
}

/// A failed attempt at a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    /// The raid of the event.
    pub raid: RaidId,
    /// The seq of the event.
    pub seq: Seq,
    /// When the attempt failed.
    pub at: UnixMillis,
    /// Number of attempts, including this one.
    pub attempts: u32,
    /// When the next attempt is due; `None` if the delivery is dead.
    pub next_at: Option<UnixMillis>,
    /// Error of this attempt.
    pub error: String,
}

/// Changes to an endpoint's progress that are saved together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgressUpdate {
    /// The lineage, and the cursor up to which every event is delivered or among the failed
    /// attempts; `None` if it did not move.
    pub cursor: Option<(String, FeedCursor)>,
    /// Ids of parked deliveries that need no more attempts.
    pub settled_ids: Vec<u64>,
    /// Failed attempts, each of which parks its delivery or updates a parked one.
    pub failed_attempts: Vec<FailedAttempt>,
    /// Reason to pause the endpoint; `None` leaves it as it is.
    pub pause_reason: Option<String>,
}

/// State of an endpoint, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRow {
    /// The endpoint's name in the configuration.
    pub name: String,
    /// The instance that delivers to the endpoint, if one does.
    pub owner: Option<InstanceId>,
    /// Reason why deliveries are paused; `None` if they are not.
    pub pause_reason: Option<String>,
    /// Number of deliveries that wait for another attempt; counted up to 10,000.
    pub waiting: u64,
    /// Number of dead deliveries; counted up to 10,000.
    pub dead: u64,
}

/// Deliveries that an operator wants to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// One event, whether or not it was delivered before.
    Event(RaidId, Seq),
    /// All dead deliveries, up to 10,000.
    Dead,
}

/// The webhook deliveries of the store.
#[async_trait]
pub trait WebhookDeliveries: Send + Sync + 'static {
    /// Acquires the endpoint's delivery lease. Returns `None` while another live
    /// instance holds it.
    ///
    /// A new endpoint begins at the end of the feed (see [`feed_end`](super::Feed::feed_end)): it
    /// gets every event that is committed from now on, and may get events committed since the
    /// oldest transaction in flight began.
    async fn acquire_endpoint(
        &self,
        name: &str,
        instance: InstanceId,
    ) -> Result<Option<EndpointProgress>>;

    /// Releases the endpoint, if `instance` holds it.
    async fn release_endpoint(&self, name: &str, instance: InstanceId) -> Result<()>;

    /// Saves progress, all of it or nothing. Returns false, and saves nothing, if `instance` does
    /// not hold the endpoint.
    async fn save_progress(
        &self,
        name: &str,
        instance: InstanceId,
        progress: &ProgressUpdate,
    ) -> Result<bool>;

    /// Returns parked deliveries whose next attempt is due `now`, the earliest first, at most `limit`.
    async fn due_deliveries(
        &self,
        name: &str,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<ParkedDelivery>>;

    /// Returns parked deliveries, dead or waiting, with an id above `after`, at most `limit`.
    async fn parked_deliveries(
        &self,
        name: &str,
        dead: bool,
        after: u64,
        limit: u32,
    ) -> Result<Vec<ParkedDelivery>>;

    /// Returns the state of every endpoint that was ever acquired, ordered by name.
    async fn endpoints(&self) -> Result<Vec<EndpointRow>>;

    /// Makes deliveries due at once, with their attempts counted from zero, and writes the audit
    /// entry with it. Returns their number.
    async fn replay_deliveries(
        &self,
        name: &str,
        what: Replay,
        entry: &NewAuditEntry,
    ) -> Result<u64>;

    /// Resumes a paused endpoint and writes the audit entry with it. Returns false if the endpoint
    /// is not paused.
    async fn resume_endpoint(&self, name: &str, entry: &NewAuditEntry) -> Result<bool>;
}

/// Maximum number of deliveries that are counted, or replayed at once.
pub(super) const COUNT_MAX: u32 = 10_000;
