//! The durable truth behind one narrow trait: Postgres for a cluster, SQLite for a single instance, and memory for
//! tests of the loops above it.
//!
//! Two rules hold for every implementation. A write that names an owner and an epoch takes effect only while the
//! raid's row still names them (the fence). And a caller may drop the future of any call, or lose its answer: what
//! then happened is decided by reading, never by hope.

pub mod audit;
pub mod backup;
mod batch;
pub mod erasures;
pub mod feed;
pub mod identities;
pub mod journal;
pub mod memory;
pub mod moderation;
pub mod players;
pub mod postgres;
pub mod sqlite;
pub mod webhooks;

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
pub use audit::{AuditLog, InstanceRow, NewAuditEntry, PlayerLookup, PlayerRow, RaidLookup};
pub use erasures::{Erasure, Erasures};
pub use feed::{Feed, FeedBatch, FeedCursor};
pub use identities::{Identities, LinkOutcome};
pub use moderation::{BanRow, Moderation, Notice, NoticeBatch};
pub use players::{
    Account, Accounts, FamilyId, RotationOutcome, RotationRequest, SIGN_INS_MAX, SignIn, TokenHash,
};
use raidhall_protocol::rest::Contribution;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Event, OpKey, PlayerId, RaidId, Seq, UnixMillis};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;
pub use webhooks::WebhookDeliveries;

/// What a call to the store gives.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Connection lost, time-out, deadlock, serialisation failure. A write may or may not have taken effect; the same
    /// call may succeed later.
    #[error("{operation}: store unavailable")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: anyhow::Error,
    },
    /// The store will not take this, now or later. A write has not taken effect.
    #[error("{operation}: store refused")]
    Refused {
        /// What was tried.
        operation: &'static str,
        /// Why it was refused.
        source: anyhow::Error,
    },
    /// A newer release wrote what was to be read: only that one can serve it.
    #[error("an event of version {version} is newer than this release")]
    NewerVersion {
        /// The version of the event's form.
        version: u16,
    },
}

/// Why an instance could not enlist.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Another process holds this database.
    #[error("another instance holds this database")]
    InUse,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One process that serves raids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub Uuid);

/// How often a raid has been claimed. Each claim adds one; a write under an older epoch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// The month in which a raid was made, as year × 100 + month, in UTC: the ledger's partition key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(pub i32);

impl Month {
    /// The month of a moment. Moments beyond the calendar of [`time`] count as 1970-01.
    pub fn from_unix_millis(at: UnixMillis) -> Month {
        let date = OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1_000))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Month(date.year() * 100 + i32::from(u8::from(date.month())))
    }
}

/// An idempotency key as the ledger keeps it: the first 16 bytes of SHA-256 over the token's subject and the op, each
/// prefixed by its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpHash(pub [u8; 16]);

impl OpHash {
    /// The key of an op in the scope of a token's subject.
    pub fn new(subject: &str, op: &OpKey) -> OpHash {
        let mut hash = Sha256::new();
        for part in [subject.as_bytes(), op.as_str().as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        OpHash(key)
    }
}

/// How an instance makes itself known.
#[derive(Debug, Clone)]
pub struct InstanceRecord {
    /// Its name, new at every start.
    pub id: InstanceId,
    /// Where clients reach its socket door.
    pub ws_url: String,
    /// The release it runs.
    pub release: String,
    /// Whether it is about to leave: nobody should send it more raids or clients.
    pub draining: bool,
}

/// Another instance whose lease lives, as a renewal saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInstance {
    /// Its name.
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
    /// The database's time.
    pub now: UnixMillis,
    /// The name of this history of the database.
    pub lineage: String,
    /// Whether there was a time without a lease before: others may have claimed our raids in it.
    pub lapsed: bool,
    /// Every other instance whose lease lives, by id.
    pub peers: Vec<PeerInstance>,
}

/// What came of trying to become a raid's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// It is ours, under this epoch.
    Acquired(Epoch),
    /// A living instance has it.
    Held {
        /// Who.
        owner: InstanceId,
        /// Where clients reach the owner.
        ws_url: String,
    },
    /// There is no such raid.
    Missing,
    /// Others were changing it each time that it was looked at: ask again.
    Contested,
}

/// Who may write a raid, and how far its history goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaidHead {
    /// The owner, if any.
    pub owner: Option<InstanceId>,
    /// The epoch of the latest claim.
    pub epoch: Epoch,
    /// The newest committed seq.
    pub last_seq: Seq,
}

/// What a raid is rebuilt from.
#[derive(Debug, Clone)]
pub struct LoadedRaid {
    /// Its ledger's partition.
    pub created_month: Month,
    /// Ownership and newest seq, read together with the rest.
    pub head: RaidHead,
    /// The newest snapshot, in the rules' stored form, if there is one.
    pub snapshot: Option<(Seq, Vec<u8>)>,
    /// Every event after the snapshot, in order.
    pub tail: Vec<Event>,
    /// The op keys of the events after `last_seq` − `op_keys_max`, oldest first, each with the seq of its event.
    pub ops: Vec<(OpHash, Seq)>,
}

/// An event and the op key of the command that it ends.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerEvent {
    /// The event.
    pub event: Event,
    /// On the last event of a command that carried an op.
    pub op: Option<OpHash>,
}

/// The columns of a raid's row that its events change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaidHeader {
    /// Where the raid stands.
    pub status: RaidStatus,
    /// When it is lost; while it is active and never after.
    pub deadline: Option<UnixMillis>,
    /// The xp earned so far.
    pub current_xp: u64,
    /// The tasks done so far.
    pub current_tasks: u64,
    /// When it ended.
    pub ended_at: Option<UnixMillis>,
}

/// One raid's share of a batch: events that follow on from `first` − 1, all or none.
#[derive(Debug, Clone)]
pub struct Append {
    /// The raid.
    pub raid: RaidId,
    /// Its ledger's partition.
    pub created_month: Month,
    /// Who writes.
    pub owner: InstanceId,
    /// Under which claim.
    pub epoch: Epoch,
    /// The events, contiguous, at least one.
    pub events: Vec<LedgerEvent>,
    /// The raid's row after the last of them.
    pub header: RaidHeader,
    /// The key of the request that made the raid, on the append that begins with `raid_created`.
    pub create_key: Option<OpHash>,
}

impl Append {
    /// The seq of the first event.
    pub fn first_seq(&self) -> Seq {
        self.events
            .first()
            .map_or(Seq::ZERO, |recorded| recorded.event.seq)
    }

    /// The seq of the last event.
    pub fn last_seq(&self) -> Seq {
        self.events
            .last()
            .map_or(Seq::ZERO, |recorded| recorded.event.seq)
    }
}

/// What became of one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is in the ledger (by this call, or by an earlier one whose answer was lost).
    Committed,
    /// The raid has another owner, epoch or history: this call did not write it and none under its epoch will. (An
    /// earlier call whose answer was lost may have, before the raid changed hands: a load shows.)
    Fenced,
    /// Neither is proven: an earlier statement may still be running. Send the same append again.
    Unclear,
    /// A raid of this create key or invite code exists already; nothing was written.
    Exists,
}

impl CommitOutcome {
    /// What became of an append that a call did not write, by the raid's head as that call, or a later read, saw it.
    pub fn from_head(append: &Append, head: RaidHead) -> CommitOutcome {
        match head.last_seq {
            _ if head.owner != Some(append.owner) || head.epoch != append.epoch => {
                CommitOutcome::Fenced
            }
            // Under this epoch nobody but this owner has written: it was an earlier attempt at this append.
            last_seq if last_seq >= append.last_seq() => CommitOutcome::Committed,
            // An earlier append, or an earlier attempt at this one, has not landed yet.
            last_seq if last_seq < append.first_seq() => CommitOutcome::Unclear,
            _ => CommitOutcome::Fenced,
        }
    }
}

/// A raid in a list of a player's raids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaidRow {
    /// The raid.
    pub id: RaidId,
    /// What it is called.
    pub title: String,
    /// Its invite code (upper case).
    pub invite_code: String,
    /// The goals.
    pub target_xp: u64,
    /// The goals.
    pub target_tasks: u64,
    /// Seconds from start to deadline.
    pub time_limit_secs: u64,
    /// When it was made.
    pub created_at: UnixMillis,
    /// Its changing columns.
    pub header: RaidHeader,
    /// The newest committed seq.
    pub last_seq: Seq,
}

/// What upkeep found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaintenanceReport {
    /// Partitions of the ledger that it made.
    pub partitions_created: u32,
    /// Months, of this one and the next three, that still have no partition of their own.
    pub partitions_missing: u32,
    /// Events in the default partition, which takes what has no other; counted up to 100,000.
    pub default_partition_rows: u64,
}

/// The database, as the rest of the server needs it.
#[async_trait]
pub trait Store:
    Accounts
    + Moderation
    + AuditLog
    + Identities
    + Erasures
    + Feed
    + WebhookDeliveries
    + Send
    + Sync
    + 'static
{
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

    /// Reserves ids for raids to come. Ids never used are lost, harmlessly.
    async fn reserve_raid_ids(&self, count: u32) -> Result<Range<u64>>;

    /// Becomes the owner of each raid that has none, whose owner's lease has run out, or that is our own already (a
    /// reload): each time under a new epoch, which fences off whatever is still in flight. One answer per raid, in the
    /// order asked; each raid stands for itself.
    async fn claim(&self, raids: &[RaidId], instance: InstanceId) -> Result<Vec<ClaimOutcome>>;

    /// Gives raids up. Those no longer owned under that epoch are passed over.
    async fn release(&self, raids: &[(RaidId, Epoch)], instance: InstanceId) -> Result<()>;

    /// Commits several raids' events together, each raid fenced by itself; the fates are in the batch's order. No
    /// raid stands twice in a batch. Totals change only for events that this call inserted. `Refused` means that one
    /// of the appends (unknown which) is at fault and none is committed.
    async fn commit(&self, batch: &[Append]) -> Result<Vec<CommitOutcome>>;

    /// Reads what a raid is rebuilt from, with at most `op_keys_max` op keys; `None` if there is no such raid.
    async fn load(&self, raid: RaidId, op_keys: u64) -> Result<Option<LoadedRaid>>;

    /// Who owns each raid and how far it is, in no order. Those that do not exist are absent.
    async fn heads(&self, raids: &[RaidId]) -> Result<Vec<(RaidId, RaidHead)>>;

    /// Who owns a raid and how far it is; `None` if there is no such raid.
    async fn head(&self, raid: RaidId) -> Result<Option<RaidHead>> {
        Ok(self.heads(&[raid]).await?.pop().map(|(_, head)| head))
    }

    /// The raids that an instance owns now, and under which claims, by id.
    async fn owned_raids(&self, instance: InstanceId) -> Result<Vec<(RaidId, Epoch)>>;

    /// Events with a seq over `after`, oldest first, at most `limit`.
    async fn events(&self, raid: RaidId, after: Seq, limit: u32) -> Result<Vec<Event>>;

    /// Contributions with a seq over `after`, oldest first, at most `limit`.
    async fn contributions(
        &self,
        raid: RaidId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Contribution>>;

    /// The seq of the event that carries an op key.
    async fn find_op(&self, raid: RaidId, op: OpHash) -> Result<Option<Seq>>;

    /// Keeps a snapshot if `owner` still owns the raid under `epoch`, in place of an older one.
    async fn save_snapshot(
        &self,
        raid: RaidId,
        owner: InstanceId,
        epoch: Epoch,
        seq: Seq,
        state: &[u8],
    ) -> Result<()>;

    /// Active raids whose deadline is at or before `until` and which no other living instance owns, most urgent first.
    /// Our own are among them: one that we own and do not serve, after a load that failed, must be found as well.
    async fn due_raids(
        &self,
        instance: InstanceId,
        until: UnixMillis,
        limit: u32,
    ) -> Result<Vec<RaidId>>;

    /// The raid of an invite code (upper case).
    async fn raid_by_invite(&self, code: &str) -> Result<Option<RaidId>>;

    /// The raid that a creation request with this key made.
    async fn raid_by_create_key(&self, key: OpHash) -> Result<Option<RaidId>>;

    /// Raids of which the player is a member, newest (largest id) first, those below `before`, at most `limit`.
    async fn raids_by_member(
        &self,
        player: PlayerId,
        status: Option<RaidStatus>,
        before: Option<RaidId>,
        limit: u32,
    ) -> Result<Vec<RaidRow>>;

    /// Raids that the player is or was a member of, with ids over `after`, in their order, at most `limit`.
    async fn raids_ever_joined(
        &self,
        player: PlayerId,
        after: Option<RaidId>,
        limit: u32,
    ) -> Result<Vec<RaidId>>;
}
