//! The catalog: raids by player and by code, and the ids of raids to come.

use std::ops::Range;

use async_trait::async_trait;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{PlayerId, RaidId, Seq, UnixMillis};

use super::{OpHash, RaidHeader, Result};

/// A raid in a list of a player's raids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaidRow {
    /// The raid, by its id.
    pub id: RaidId,
    /// What it is called.
    pub title: String,
    /// Its invite code (upper case).
    pub invite_code: String,
    /// The XP that completes the raid.
    pub target_xp: u64,
    /// The tasks that complete the raid.
    pub target_tasks: u64,
    /// Seconds from start to deadline.
    pub time_limit_secs: u64,
    /// When it was made.
    pub created_at: UnixMillis,
    /// The columns that events change.
    pub header: RaidHeader,
    /// The newest committed seq.
    pub last_seq: Seq,
}

/// The part of the store that finds raids.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// Reserves ids for raids to come. Ids never used are lost, harmlessly.
    async fn reserve_raid_ids(&self, count: u32) -> Result<Range<u64>>;

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
