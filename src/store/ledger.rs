//! The ledger: the events of all raids, and the snapshots that are derived from them.

use async_trait::async_trait;
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::rest::Contribution;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Event, OpKey, RaidId, Seq, UnixMillis};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::{CommittedEvent, Epoch, InstanceId, RaidHead, Result};

/// The month in which a raid was created, as year × 100 + month, in UTC: the ledger's partition
/// key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(pub i32);

impl Month {
    /// Returns the month of `at`. A time outside the calendar of [`time`] counts as 1970-01.
    pub fn from_unix_millis(at: UnixMillis) -> Month {
        let date = OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1_000))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Month(date.year() * 100 + i32::from(u8::from(date.month())))
    }
}

/// An idempotency key as the ledger stores it: the first 16 bytes of SHA-256, over the token's subject
/// and the op, each prefixed by its length, or over the raid's event that causes a player's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpHash(pub [u8; 16]);

impl OpHash {
    /// Hashes an op in the scope of a token's subject.
    pub fn new(subject: &str, op: &OpKey) -> OpHash {
        let mut hash = Sha256::new();
        for part in [subject.as_bytes(), op.as_str().as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        OpHash::from_sha256(hash)
    }

    /// Hashes an event of a raid. It stands where the length of the token's subject would, and no
    /// subject is as long.
    pub fn from_cause(cause: RaidPlace) -> OpHash {
        let mut hash = Sha256::new();
        for number in [u64::MAX, cause.raid.get(), cause.seq.0] {
            hash.update(number.to_be_bytes());
        }
        OpHash::from_sha256(hash)
    }

    /// Hashes the end of a streak, at which it is lost once.
    pub fn from_lapse(lapses_at: UnixMillis) -> OpHash {
        OpHash::from_due(u64::MAX - 1, lapses_at)
    }

    /// Hashes the moment of a reminder, which is sent once.
    pub fn from_reminder(moment: UnixMillis) -> OpHash {
        OpHash::from_due(u64::MAX - 2, moment)
    }

    /// Hashes a moment at which something is due. What it is stands where the length of a token's
    /// subject would.
    fn from_due(what: u64, moment: UnixMillis) -> OpHash {
        let mut hash = Sha256::new();
        for number in [what, moment.0.cast_unsigned()] {
            hash.update(number.to_be_bytes());
        }
        OpHash::from_sha256(hash)
    }

    fn from_sha256(hash: Sha256) -> OpHash {
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        OpHash(key)
    }
}

/// The stored form of a raid, from which a session rebuilds its state.
#[derive(Debug, Clone)]
pub struct LoadedRaid {
    /// The month whose partition of the ledger holds the raid's events.
    pub created_month: Month,
    /// Ownership and newest seq, consistent with the rest.
    pub head: RaidHead,
    /// The newest snapshot, in the rules' stored form, if there is one.
    pub snapshot: Option<(Seq, Vec<u8>)>,
    /// Every event after the snapshot, in order.
    pub tail: Vec<Event>,
    /// The op keys of the events after `last_seq` − `op_keys`, oldest first, each with the seq of
    /// its event.
    pub ops: Vec<(OpHash, Seq)>,
}

/// An event, and the op key of the command that ends with it.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerEvent {
    /// The event as clients see it.
    pub event: Event,
    /// Set on the last event of a command that carried an op.
    pub op: Option<OpHash>,
}

/// The columns of a raid's row that its events change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaidHeader {
    pub status: RaidStatus,
    /// When the raid fails unless it is completed; set only while it is active.
    pub deadline: Option<UnixMillis>,
    /// XP earned so far.
    pub current_xp: u64,
    /// Number of tasks completed so far.
    pub current_tasks: u64,
    /// When the raid was completed, failed or ended.
    pub ended_at: Option<UnixMillis>,
}

/// One raid's append in a batch: contiguous events, written or refused as a whole.
#[derive(Debug, Clone)]
pub struct Append {
    /// The raid that the events change.
    pub raid: RaidId,
    /// The month whose partition of the ledger holds the raid's events.
    pub created_month: Month,
    /// The instance that writes as the raid's owner.
    pub owner: InstanceId,
    /// The epoch of the claim under which the owner writes.
    pub epoch: Epoch,
    /// Events with contiguous seqs, at least one.
    pub events: Vec<LedgerEvent>,
    /// The raid's header after the last event.
    pub header: RaidHeader,
    /// Set only on the append that begins with `raid_created`.
    pub creation: Option<CreationTerms>,
}

/// The terms of the request that creates a raid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreationTerms {
    /// The request's idempotency key.
    pub key: OpHash,
    /// The number of open raids that the leader may lead, this one included; `None` if the request
    /// has no such limit.
    pub led_raids_max: Option<u32>,
}

impl Append {
    /// Returns the seq of the first event.
    pub fn first_seq(&self) -> Seq {
        self.events
            .first()
            .map_or(Seq::ZERO, |recorded| recorded.event.seq)
    }

    /// Returns the seq of the last event.
    pub fn last_seq(&self) -> Seq {
        self.events
            .last()
            .map_or(Seq::ZERO, |recorded| recorded.event.seq)
    }
}

/// Outcome of one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The append is in the ledger, written by this call or by an earlier one whose reply was lost.
    Committed,
    /// The raid has another owner, epoch or history. This call did not write the append, and none
    /// under its epoch will. An earlier call whose reply was lost may have written it before the
    /// raid changed hands; a load shows that.
    Fenced,
    /// Neither is proven, because an earlier statement may still be running. Send the same append
    /// again.
    Unclear,
    /// A raid with this create key or invite code exists already; nothing was written.
    Exists,
    /// The leader of a new raid leads as many open raids as the terms allow; nothing was written.
    OverQuota,
}

impl CommitOutcome {
    /// Derives the outcome of an append that a call did not write from the raid's head, as that
    /// call or a later read saw it.
    pub fn from_head(append: &Append, head: RaidHead) -> CommitOutcome {
        match head.last_seq {
            _ if head.owner != Some(append.owner) || head.epoch != append.epoch => {
                CommitOutcome::Fenced
            }
            // Only this owner has written under this epoch, so an earlier attempt at this append
            // did it.
            last_seq if last_seq >= append.last_seq() => CommitOutcome::Committed,
            // An earlier append, or an earlier attempt at this one, is not written yet.
            last_seq if last_seq < append.first_seq() => CommitOutcome::Unclear,
            _ => CommitOutcome::Fenced,
        }
    }
}

/// The events and snapshots of the store.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Commits several raids' events together, each raid fenced by itself. Outcomes are in the
    /// order of the batch, which names no raid twice. Totals change only for events that this call
    /// inserted.
    ///
    /// # Errors
    ///
    /// `Refused` means that one of the appends (unknown which) is at fault and none was committed.
    async fn commit(&self, batch: &[Append]) -> Result<Vec<CommitOutcome>>;

    /// Loads a raid, with op keys of at most its last `op_keys` events; `None` if there is no such
    /// raid.
    async fn load(&self, raid: RaidId, op_keys: u64) -> Result<Option<LoadedRaid>>;

    /// Loads a raid without op keys, for a read that has no session. It does not compete with the
    /// loads of sessions.
    async fn load_for_read(&self, raid: RaidId) -> Result<Option<LoadedRaid>> {
        self.load(raid, 0).await
    }

    /// Returns events with a seq above `after`, oldest first, at most `limit`.
    async fn events(&self, raid: RaidId, after: Seq, limit: u32) -> Result<Vec<Event>>;

    /// Returns the events at these places, of any raids and in any order; places without an event
    /// are absent. No place is named twice.
    async fn events_at(&self, places: &[RaidPlace]) -> Result<Vec<CommittedEvent>>;

    /// Returns contributions with a seq above `after`, oldest first, at most `limit`.
    async fn contributions(
        &self,
        raid: RaidId,
        after: Seq,
        limit: u32,
    ) -> Result<Vec<Contribution>>;

    /// Returns which of the given op keys events of the raid carry, each with its event's seq, in
    /// any order.
    async fn find_ops(&self, raid: RaidId, ops: &[OpHash]) -> Result<Vec<(OpHash, Seq)>>;

    /// Saves a snapshot if `owner` still owns the raid under `epoch`; it replaces an older
    /// snapshot, never a newer one.
    async fn save_snapshot(
        &self,
        raid: RaidId,
        owner: InstanceId,
        epoch: Epoch,
        seq: Seq,
        state: &[u8],
    ) -> Result<()>;
}
