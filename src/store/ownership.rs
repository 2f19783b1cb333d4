//! Ownership: which instance may write to a raid, and under which epoch.

use async_trait::async_trait;
use raidhall_protocol::{RaidId, Seq, UnixMillis};

use super::{InstanceId, Result};

/// Number of times a raid has been claimed. Each claim adds one; a write under an older epoch is
/// refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// Outcome of a claim of one raid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// The claiming instance owns the raid under this epoch.
    Acquired(Epoch),
    /// A live instance owns the raid.
    Held {
        /// The instance that owns the raid.
        owner: InstanceId,
        /// URL of the owner's WebSocket endpoint.
        ws_url: String,
    },
    /// The raid does not exist.
    Missing,
    /// Other statements were changing the raid at every attempt; claim it again.
    Contested,
}

/// Raid head: owner, epoch and newest seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaidHead {
    /// The owning instance; `None` if the raid has no owner.
    pub owner: Option<InstanceId>,
    /// The epoch of the latest claim.
    pub epoch: Epoch,
    /// The newest committed seq.
    pub last_seq: Seq,
}

/// A raid whose deadline is due, and its place in the order of deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueRaid {
    /// The deadline, which orders due raids before their ids do.
    pub deadline: UnixMillis,
    /// The raid that the deadline belongs to.
    pub raid: RaidId,
}

/// The owners of raids in the store.
#[async_trait]
pub trait Ownership: Send + Sync + 'static {
    /// Makes `instance` the owner of each raid that has no owner, whose owner's lease has expired,
    /// or that `instance` owns already (a reload): always under a new epoch, which fences off what
    /// is still in flight. Returns one outcome per raid, in the order of `raids`; a failure for one
    /// raid does not affect the others.
    async fn claim(&self, raids: &[RaidId], instance: InstanceId) -> Result<Vec<ClaimOutcome>>;

    /// Releases raids. Raids that `instance` does not own under the given epoch are skipped.
    async fn release(&self, raids: &[(RaidId, Epoch)], instance: InstanceId) -> Result<()>;

    /// Returns the heads of raids, in no particular order. Raids that do not exist are absent.
    async fn heads(&self, raids: &[RaidId]) -> Result<Vec<(RaidId, RaidHead)>>;

    /// Returns the head of a raid; `None` if there is no such raid.
    async fn head(&self, raid: RaidId) -> Result<Option<RaidHead>> {
        Ok(self.heads(&[raid]).await?.pop().map(|(_, head)| head))
    }

    /// Returns the raids that an instance owns, with the epochs of its claims, ordered by id.
    async fn owned_raids(&self, instance: InstanceId) -> Result<Vec<(RaidId, Epoch)>>;

    /// Returns active raids whose deadline is at or before `until` and that no other live instance
    /// owns, earliest deadline first, from the one behind `after` on. Raids that `instance` owns are
    /// included: one that it does not serve, after a load that failed, must be found too.
    async fn due_raids(
        &self,
        instance: InstanceId,
        after: Option<DueRaid>,
        until: UnixMillis,
        limit: u32,
    ) -> Result<Vec<DueRaid>>;
}
