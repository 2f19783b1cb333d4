//! Leases: instances, and how each of them proves that it lives.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::UnixMillis;
use thiserror::Error;

use super::{InstanceId, Result, StoreError};

/// Why an instance could not be registered.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// Another process holds this database.
    #[error("another instance holds this database")]
    InUse,
    /// The store failed before the instance was registered.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How an instance makes itself known.
#[derive(Debug, Clone)]
pub struct InstanceRecord {
    /// The instance's id, new at every start.
    pub id: InstanceId,
    /// Where clients reach its socket door.
    pub ws_url: String,
    /// The release it runs.
    pub release: String,
    /// Whether it is draining: it should be given no more raids and clients.
    pub draining: bool,
}

/// Another instance whose lease lives, as a renewal saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInstance {
    /// The other instance's id.
    pub id: InstanceId,
    /// Where clients reach its socket door.
    pub ws_url: String,
    /// Whether it is about to leave.
    pub draining: bool,
    /// When its lease runs out unless it is renewed, by the database's clock.
    pub lease_until: UnixMillis,
}

/// What renewing a lease teaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// The time by the database's clock.
    pub now: UnixMillis,
    /// The name of this history of the database.
    pub lineage: String,
    /// Whether there was a time without a lease before: others may have claimed our raids in it.
    pub lapsed: bool,
    /// Every other instance whose lease lives, by id.
    pub peers: Vec<PeerInstance>,
}

/// What maintenance found in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaintenanceReport {
    /// Partitions of the ledger that it made.
    pub partitions_created: u32,
    /// Months, of this one and the next three, that still have no partition of their own.
    pub partitions_missing: u32,
    /// Events in the default partition, which takes what has no other; counted up to 100,000.
    pub default_partition_rows: u64,
}

/// The part of the store that keeps leases and runs maintenance.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Makes this process known and takes the lease. An instance that must be alone (embedded, or Postgres with the
    /// local bus) takes the database's lock, waits up to `patience` for it and for former leases to run out, and then
    /// fails with [`RegisterError::InUse`]. SQLite voids former leases as soon as it has the lock.
    async fn register(
        &self,
        instance: &InstanceRecord,
        ttl: Duration,
        patience: Duration,
    ) -> Result<Renewal, RegisterError>;

    /// Whether the lock that `register` took keeps all others out for as long as this process lives, whatever becomes of
    /// its lease.
    fn has_exclusive_lock(&self) -> bool {
        false
    }

    /// Renews the lease for `ttl` from now, by the database's clock, whether or not it has run out meanwhile, and makes
    /// known what has changed of the instance.
    async fn renew(&self, instance: &InstanceRecord, ttl: Duration) -> Result<Renewal>;

    /// Ends the lease and gives every raid still owned back, at a clean shutdown.
    async fn deregister(&self, instance: InstanceId) -> Result<()>;

    /// The daily upkeep: makes the ledger's partitions for the months to come, deletes sign-ins and instances that are
    /// long over. Whatever it could not do now it does the next time.
    async fn maintain(&self) -> Result<MaintenanceReport> {
        Ok(MaintenanceReport::default())
    }
}
