//! Ownership: which instance may write a raid, and under which epoch.

use async_trait::async_trait;
use raidhall_protocol::{RaidId, Seq, UnixMillis};

use super::{InstanceId, Result};

/// How often a raid has been claimed. Each claim adds one; a write under an older epoch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// What came of trying to become a raid's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// It is ours, under this epoch.
    Acquired(Epoch),
    /// A living instance has it.
    Held {
        /// The instance that owns the raid.
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

/// The part of the store that keeps the owners of raids.
#[async_trait]
pub trait Ownership: Send + Sync + 'static {
    /// Becomes the owner of each raid that has none, whose owner's lease has run out, or that is our own already (a
    /// reload): each time under a new epoch, which fences off whatever is still in flight. One answer per raid, in the
    /// order asked; each raid stands for itself.
    async fn claim(&self, raids: &[RaidId], instance: InstanceId) -> Result<Vec<ClaimOutcome>>;

    /// Gives raids up. Those no longer owned under that epoch are passed over.
    async fn release(&self, raids: &[(RaidId, Epoch)], instance: InstanceId) -> Result<()>;

    /// Who owns each raid and how far it is, in no order. Those that do not exist are absent.
    async fn heads(&self, raids: &[RaidId]) -> Result<Vec<(RaidId, RaidHead)>>;

    /// Who owns a raid and how far it is; `None` if there is no such raid.
    async fn head(&self, raid: RaidId) -> Result<Option<RaidHead>> {
        Ok(self.heads(&[raid]).await?.pop().map(|(_, head)| head))
    }

    /// The raids that an instance owns now, and under which claims, by id.
    async fn owned_raids(&self, instance: InstanceId) -> Result<Vec<(RaidId, Epoch)>>;

    /// Active raids whose deadline is at or before `until` and which no other living instance owns, most urgent first.
    /// Our own are among them: one that we own and do not serve, after a load that failed, must be found as well.
    async fn due_raids(
        &self,
        instance: InstanceId,
        until: UnixMillis,
        limit: u32,
    ) -> Result<Vec<RaidId>>;
}
