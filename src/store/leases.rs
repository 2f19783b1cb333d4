//! Leases: the registered instances, each of which proves that it lives by renewing its lease.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::UnixMillis;
use thiserror::Error;

use super::{InstanceId, Result, StoreError};

/// Generation of this release. Only instances of one generation run beside each other; a release
/// that cannot run beside the one before raises the number. Releases before 0.3 have none.
pub const GENERATION: i32 = 3;

/// Why an instance could not be registered, or a schema not be migrated.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// Another process holds the database's lock, or another instance's lease has not expired.
    #[error("another instance holds this database")]
    InUse,
    /// An instance of another generation is live.
    #[error("an instance of release {release} is live, which cannot run beside this one")]
    OtherGeneration {
        /// The release of that instance.
        release: String,
    },
    /// The store failed before the instance was registered.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an instance publishes about itself.
#[derive(Debug, Clone)]
pub struct InstanceRecord {
    /// The instance's id, new at every start.
    pub id: InstanceId,
    /// URL of the instance's WebSocket endpoint.
    pub ws_url: String,
    /// Version of the release that the instance runs.
    pub release: String,
    /// Whether the instance is draining: it should get no more raids and clients.
    pub draining: bool,
}

/// Another instance with a valid lease, as a renewal saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInstance {
    /// The other instance's id.
    pub id: InstanceId,
    /// URL of the instance's WebSocket endpoint.
    pub ws_url: String,
    /// Whether the other instance is draining.
    pub draining: bool,
    /// How long the lease lasts from each renewal.
    pub ttl: Duration,
    /// When the lease runs out unless it is renewed, by the database's clock.
    pub lease_until: UnixMillis,
}

/// What a renewal of the lease returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// The time by the database's clock.
    pub now: UnixMillis,
    /// The database's present lineage.
    pub lineage: String,
    /// Whether the lease had expired before this renewal: other instances may have claimed this
    /// instance's raids.
    pub lapsed: bool,
    /// Every other instance with a valid lease, ordered by id.
    pub peers: Vec<PeerInstance>,
}

/// Space of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseSpace {
    /// Bytes that the database takes.
    pub used_bytes: u64,
    /// Bytes that are free on its volume, if this process can see the volume.
    pub free_bytes: Option<u64>,
}

/// What a maintenance run did and found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaintenanceReport {
    /// Number of ledger partitions that this run created.
    pub partitions_created: u32,
    /// Number of months, of this one and the next three, that still have no partition of their own.
    pub partitions_missing: u32,
    /// Number of events in the default partition, which takes those whose month has no partition;
    /// counted up to 100,000.
    pub default_partition_rows: u64,
}

/// The leases and the maintenance of the store.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Registers this process as an instance and takes its lease. An instance that must be alone
    /// (embedded, or Postgres with the local bus) takes the database's lock; it waits up to
    /// `patience` for the lock and for former leases to expire, and then fails with
    /// [`RegisterError::InUse`]. SQLite voids former leases as soon as it has the lock. Postgres
    /// also waits for instances of another generation, and then fails with
    /// [`RegisterError::OtherGeneration`].
    async fn register(
        &self,
        instance: &InstanceRecord,
        ttl: Duration,
        patience: Duration,
    ) -> Result<Renewal, RegisterError>;

    /// Returns whether the lock that `register` took excludes all other instances for as long as
    /// this process lives, even if its lease expires.
    fn has_exclusive_lock(&self) -> bool {
        false
    }

    /// Renews the lease for `ttl` from now by the database's clock, even if it has expired, and
    /// publishes what changed in `instance`.
    async fn renew(&self, instance: &InstanceRecord, ttl: Duration) -> Result<Renewal>;

    /// Ends the lease of an instance that died, if it is still the one that was seen: a lease that
    /// was written while the database's clock was ahead lasts too long.
    async fn end_stale_lease(&self, instance: InstanceId, lease_until: UnixMillis) -> Result<()>;

    /// Ends the lease and releases every raid that the instance still owns, at a clean shutdown.
    async fn deregister(&self, instance: InstanceId) -> Result<()>;

    /// Returns how much space the database takes, and how much is left; `None` if it takes none.
    async fn space(&self) -> Result<Option<DatabaseSpace>> {
        Ok(None)
    }

    /// Runs the daily maintenance: creates the ledger's partitions for the coming months, and
    /// deletes sign-ins and instances that expired long before `now`. What fails is tried again by
    /// the next run.
    async fn maintain(&self, _now: UnixMillis) -> Result<MaintenanceReport> {
        Ok(MaintenanceReport::default())
    }
}
