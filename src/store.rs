//! The durable truth behind one narrow trait: Postgres for a cluster, SQLite for a single instance,
//! and memory for tests of the code above it.
//!
//! Two rules hold for every implementation. **A write that names an owner and an epoch takes effect
//! only while the raid's row still names them** (the fence). And a caller may drop the future of
//! any call, or lose its reply: only a later read shows whether the call took effect.

pub mod audit;
pub mod backup;
mod batch;
mod boards;
mod catalog;
mod connection_shares;
pub mod definitions;
mod effects;
pub mod erasures;
pub mod faulty;
pub mod feed;
pub mod identities;
pub mod journal;
mod leases;
mod ledger;
mod lookups;
pub mod memory;
mod migration;
pub mod moderation;
mod ownership;
pub mod players;
pub mod postgres;
pub mod projection;
pub mod sqlite;
mod stale_leases;
pub mod streams;
pub mod webhooks;

pub use audit::{AuditLog, NewAuditEntry};
pub use boards::{BoardPart, BoardPosition, BoardScore, Boards};
pub use catalog::{Catalog, RaidMembers, RaidRow};
pub use connection_shares::ConnectionShares;
pub use definitions::{ApplyOutcome, ProgressionDefinitions, StoredDefinitions};
pub use erasures::{Erasure, Erasures};
pub use feed::{CommittedEvent, Feed, FeedBatch, FeedCursor, OpenTransaction};
pub use identities::{Identities, LinkOutcome};
pub use leases::{
    DatabaseSpace, GENERATION, InstanceRecord, Leases, MaintenanceReport, PeerInstance,
    RegisterError, Renewal,
};
pub use ledger::{
    Append, CommitOutcome, CreationTerms, Ledger, LedgerEvent, LoadedRaid, Month, OpHash,
    RaidHeader,
};
pub use lookups::{InstanceRow, Lookups, PlayerLookup, PlayerRow, RaidLookup};
pub use moderation::{BanRow, Moderation, Notice, NoticeBatch};
pub use ownership::{ClaimOutcome, DueRaid, Epoch, Ownership, RaidHead};
pub use players::{
    Account, Accounts, DeletedGuests, FamilyId, RotationOutcome, RotationRequest, SIGN_INS_MAX,
    SignIn, TokenHash,
};
pub use projection::{FailedCause, ProjectedPage, Projection, ProjectionOutcome};
pub use stale_leases::StaleLeases;
pub use streams::{
    DueStreak, LoadedStream, PlayerStreams, StreamAppend, StreamEntry, StreamOutcome,
};
use uuid::Uuid;
pub use webhooks::WebhookDeliveries;

use crate::progression::DefinitionsNumber;

/// Result of a call to the store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The connection was lost, or the call ended in a time-out, a deadlock or a serialisation
    /// failure. A write may or may not have taken effect; the same call may succeed later.
    #[error("{operation}: store unavailable")]
    Unavailable {
        operation: &'static str,
        source: anyhow::Error,
    },
    /// The store rejects the call, now and later. A write has not taken effect.
    #[error("{operation}: store refused")]
    Refused {
        operation: &'static str,
        source: anyhow::Error,
    },
    /// The row was written by a newer release, and only a newer release can read it.
    #[error("an event of version {version} is newer than this release")]
    NewerVersion {
        /// The version of the event's encoding.
        version: u16,
    },
    /// This release cannot read these definitions of progression: a newer release wrote them.
    #[error("the progression definitions {} are newer than this release: {fault}", number.0)]
    NewerDefinitions {
        /// The number of the definitions.
        number: DefinitionsNumber,
        /// The first fault that this release finds in them.
        fault: String,
    },
}

/// Id of one instance: a server process that serves raids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub Uuid);

/// The database as an instance uses it: every part of the store.
pub trait Store:
    Leases
    + Ownership
    + Ledger
    + Catalog
    + Accounts
    + Identities
    + Moderation
    + Erasures
    + AuditLog
    + Lookups
    + Feed
    + PlayerStreams
    + Projection
    + Boards
    + ProgressionDefinitions
    + WebhookDeliveries
{
}
