//! Moderation: bans, ended sign-ins, and the notices by which instances learn of them.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, UnixMillis};

use super::audit::NewAuditEntry;
use super::{FamilyId, Result};

/// How long notices about players are kept. An instance whose last poll is older misses notices and
/// must start over.
pub const NOTICE_RETENTION: Duration = Duration::from_secs(86_400);

/// A ban of a player.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanRow {
    pub player: PlayerRef,
    /// Reason for the ban, shown to operators.
    pub reason: String,
    /// Token subject of the operator who set the ban.
    pub by: String,
    /// When the ban was set.
    pub at: UnixMillis,
}

/// Change of a player's or a sign-in's moderation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A ban was set or lifted; the fields give its present state.
    BanChanged {
        player: PlayerId,
        /// Whether the player is banned.
        banned: bool,
    },
    /// A sign-in was ended. None of its access tokens is valid after `until`.
    SignedOut {
        /// The sign-in's token family.
        family: FamilyId,
        /// When the notice may be forgotten.
        until: UnixMillis,
    },
    /// All of a player's present connections are to be closed; the player may connect again.
    Disconnect(PlayerId),
}

/// Notices, and where the next poll continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeBatch {
    /// The notices, each with its unique number.
    pub notices: Vec<(u64, Notice)>,
    /// The value of `after` for the next poll.
    pub next: u64,
}

/// The moderation of the store.
#[async_trait]
pub trait Moderation: Send + Sync + 'static {
    /// Bans a player or changes the ban's reason, and writes the audit entry with it. Returns false
    /// if there is no such player or the account was erased.
    async fn ban(&self, player: PlayerId, reason: &str, entry: &NewAuditEntry) -> Result<bool>;

    /// Lifts a player's ban and writes the audit entry with it. Returns false if there is no ban or
    /// the account was erased.
    async fn unban(&self, player: PlayerId, entry: &NewAuditEntry) -> Result<bool>;

    /// Has every instance close the player's connections, and writes the audit entry with it.
    /// Returns false if there is no such player.
    async fn disconnect(&self, player: PlayerId, entry: &NewAuditEntry) -> Result<bool>;

    /// Returns bans of players with an id above `after`, ordered by id, at most `limit`.
    async fn bans(&self, after: Option<PlayerId>, limit: u32) -> Result<Vec<BanRow>>;

    /// Ends a sign-in: its refresh tokens become invalid, and every instance is notified. `ttl` is
    /// how long from `now` one of its access tokens may still be valid. A sign-in that never existed can be
    /// ended, too.
    async fn sign_out(&self, family: FamilyId, now: UnixMillis, ttl: Duration) -> Result<()>;

    /// Returns the notices since the call that returned `after`, or all that are kept if `after` is
    /// 0, without those that may be forgotten `now`. Consecutive calls may return a notice more than once, under the same number.
    async fn notices(&self, after: u64, now: UnixMillis) -> Result<NoticeBatch>;
}
