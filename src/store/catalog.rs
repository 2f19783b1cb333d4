//! The catalog: raids by player and by invite code, and the ids of new raids.

use std::ops::Range;

use async_trait::async_trait;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{PlayerId, RaidId, Seq, UnixMillis};

use super::{OpHash, RaidHeader, Result};

/// A raid as it appears in lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaidRow {
    /// The raid's own id.
    pub id: RaidId,
    pub title: String,
    /// The invite code, in upper case.
    pub invite_code: String,
    /// The XP that completes the raid.
    pub target_xp: u64,
    /// The tasks that complete the raid.
    pub target_tasks: u64,
    /// Time from the raid's start to its deadline, in seconds.
    pub time_limit_secs: u64,
    /// When the raid was created.
    pub created_at: UnixMillis,
    /// The columns that the raid's events change.
    pub header: RaidHeader,
    /// The newest committed seq.
    pub last_seq: Seq,
}

/// The members of a raid as they appear in lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaidMembers {
    /// The raid that they are members of.
    pub raid: RaidId,
    /// The number of members.
    pub count: u32,
    /// The members who joined first, in that order.
    pub first: Vec<PlayerRef>,
}

/// The lookups of raids in the store.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// Reserves `count` ids for new raids. Reserved ids that are never used are harmless gaps.
    async fn reserve_raid_ids(&self, count: u32) -> Result<Range<u64>>;

    /// Returns the raid with an invite code (upper case).
    async fn raid_by_invite(&self, code: &str) -> Result<Option<RaidId>>;

    /// Returns the raid that a create request with this key created.
    async fn raid_by_create_key(&self, key: OpHash) -> Result<Option<RaidId>>;

    /// Returns raids of which the player is a member, with ids below `before`, newest (largest id)
    /// first, at most `limit`.
    async fn raids_by_member(
        &self,
        player: PlayerId,
        status: Option<RaidStatus>,
        before: Option<RaidId>,
        limit: u32,
    ) -> Result<Vec<RaidRow>>;

    /// Returns the members of each of these raids that exists: their number, and the first `limit` by
    /// joining. Members who joined before the store recorded when come first, ordered by id.
    async fn raid_members(&self, raids: &[RaidId], limit: u32) -> Result<Vec<RaidMembers>>;

    /// Returns raids that the player is or was a member of, with ids above `after`, in the order of
    /// their ids, at most `limit`.
    async fn raids_ever_joined(
        &self,
        player: PlayerId,
        after: Option<RaidId>,
        limit: u32,
    ) -> Result<Vec<RaidId>>;

    /// Returns those of the given pairs whose player is or was a member of the raid, in any order.
    async fn filter_ever_joined(
        &self,
        pairs: &[(RaidId, PlayerId)],
    ) -> Result<Vec<(RaidId, PlayerId)>>;
}
