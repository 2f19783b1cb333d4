//! Players who are to be forgotten: the account at once, what they wrote raid by raid.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::{Event, PlayerId, RaidId, Seq, UnixMillis};

use super::Result;
use super::audit::NewAuditEntry;

/// A player whose texts may still stand in raids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erasure {
    /// Who.
    pub player: PlayerId,
    /// When their account was closed, by the database's clock.
    pub begun_at: UnixMillis,
}

/// The part of the store that forgets.
#[async_trait]
pub trait Erasures: Send + Sync + 'static {
    /// Closes a player's account for good and records the deed with it: `name` stands for theirs, their id elsewhere is
    /// free for another, their sign-ins are gone, and they count as banned, which nobody can lift. Their raids are due to
    /// be rewritten. False if there is no such player; closing one that is closed changes nothing.
    async fn begin_erasure(
        &self,
        player: PlayerId,
        name: &str,
        deed: &NewAuditEntry,
    ) -> Result<bool>;

    /// Takes an erasure that is due, the most urgent one; it is due again after `again`, unless it is ended before.
    async fn take_erasure(&self, again: Duration) -> Result<Option<Erasure>>;

    /// Puts these events in the place of those that the raid has under the same seqs. What follows from them (the raid's
    /// title in lists) follows, and a snapshot of a seq below `before` is dropped. Their places in the feed stay.
    async fn rewrite_events(&self, raid: RaidId, events: &[Event], before: Seq) -> Result<()>;

    /// The player's texts stand nowhere any more.
    async fn end_erasure(&self, player: PlayerId) -> Result<()>;
}

/// The title that rewritten events give a raid, if they do.
pub(super) fn rewritten_title(events: &[Event]) -> Option<&str> {
    events.iter().find_map(|event| match &event.data {
        raidhall_protocol::EventData::RaidCreated { title, .. } => Some(title.as_str()),
        _ => None,
    })
}
