//! Erasure of players: the account at once, their texts raid by raid.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::{Event, PlayerId, RaidId, Seq, UnixMillis};

use super::Result;
use super::audit::NewAuditEntry;

/// Pending erasure of a player, whose texts may still be in raids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erasure {
    pub player: PlayerId,
    /// When the account was closed, by the database's clock.
    pub begun_at: UnixMillis,
}

/// The erasures of the store.
#[async_trait]
pub trait Erasures: Send + Sync + 'static {
    /// Closes a player's account for good and writes the audit entry with it. `name` replaces the
    /// player's name, their external id becomes free for another player, their sign-ins are
    /// deleted, and they get a ban that cannot be lifted. A rewrite of their raids becomes due.
    /// Returns false if there is no such player; closing a closed account changes nothing.
    async fn begin_erasure(
        &self,
        player: PlayerId,
        name: &str,
        entry: &NewAuditEntry,
    ) -> Result<bool>;

    /// Takes the erasure that has been due longest. Unless it is ended before, it is due again
    /// after `again`.
    async fn take_erasure(&self, now: UnixMillis, again: Duration) -> Result<Option<Erasure>>;

    /// Replaces the raid's events of the same seqs. What derives from them (the raid's title in
    /// lists) is updated, and a snapshot of a seq below `before` is deleted. The events keep their
    /// places in the feed.
    async fn rewrite_events(&self, raid: RaidId, events: &[Event], before: Seq) -> Result<()>;

    /// Ends an erasure, once none of the player's texts are left.
    async fn end_erasure(&self, player: PlayerId) -> Result<()>;
}

/// Returns the title in the raid's `raid_created` event, if it is among the rewritten events.
pub(super) fn rewritten_title(events: &[Event]) -> Option<&str> {
    events.iter().find_map(|event| match &event.data {
        raidhall_protocol::EventData::RaidCreated { title, .. } => Some(title.as_str()),
        _ => None,
    })
}
