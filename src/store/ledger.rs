//! The ledger: the events of all raids, and the snapshots made of them.

use async_trait::async_trait;
use raidhall_protocol::rest::Contribution;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{Event, OpKey, RaidId, Seq, UnixMillis};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::{Epoch, InstanceId, RaidHead, Result};

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

/// What a raid is rebuilt from.
#[derive(Debug, Clone)]
pub struct LoadedRaid {
    /// The month whose partition of the ledger holds the raid's events.
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
    /// The event as clients see it.
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
    /// When the raid was completed, failed or ended.
    pub ended_at: Option<UnixMillis>,
}

/// One raid's share of a batch: events that follow on from `first` − 1, all or none.
#[derive(Debug, Clone)]
pub struct Append {
    /// The raid that the events change.
    pub raid: RaidId,
    /// The month whose partition of the ledger holds the raid's events.
    pub created_month: Month,
    /// The owner that writes.
    pub owner: InstanceId,
    /// The epoch of the claim under which the owner writes.
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
            // Under this epoch only this owner has written: it was an earlier attempt at this append.
            last_seq if last_seq >= append.last_seq() => CommitOutcome::Committed,
            // An earlier append, or an earlier attempt at this one, has not landed yet.
            last_seq if last_seq < append.first_seq() => CommitOutcome::Unclear,
            _ => CommitOutcome::Fenced,
        }
    }
}

/// The part of the store that keeps events and snapshots.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Commits several raids' events together, each raid fenced by itself; the fates are in the batch's order. No
    /// raid stands twice in a batch. Totals change only for events that this call inserted. `Refused` means that one
    /// of the appends (unknown which) is at fault and none is committed.
    async fn commit(&self, batch: &[Append]) -> Result<Vec<CommitOutcome>>;

    /// Reads what a raid is rebuilt from, with at most `op_keys_max` op keys; `None` if there is no such raid.
    async fn load(&self, raid: RaidId, op_keys: u64) -> Result<Option<LoadedRaid>>;

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
}
