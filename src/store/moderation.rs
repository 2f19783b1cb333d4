//! Who may not come in: bans, sign-ins that were ended, and what instances hear of it.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, UnixMillis};

use super::audit::NewAuditEntry;
use super::{FamilyId, Result};

/// For how long notices about players are kept: an instance that has not looked for longer starts over.
pub const NOTICE_RETENTION: Duration = Duration::from_secs(86_400);

/// A player who may not come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanRow {
    /// Who.
    pub player: PlayerRef,
    /// Why, for operators.
    pub reason: String,
    /// The subject of the operator who said so.
    pub by: String,
    /// When.
    pub at: UnixMillis,
}

/// What changed of somebody's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A ban was set or lifted; this is how it stands now.
    BanChanged {
        /// Whose.
        player: PlayerId,
        /// Whether they are banned.
        banned: bool,
    },
    /// A sign-in was ended. None of its access tokens lives beyond `until`.
    SignedOut {
        /// Which.
        family: FamilyId,
        /// When it may be forgotten.
        until: UnixMillis,
    },
    /// A player's connections are to be closed, once.
    Disconnect(PlayerId),
}

/// Notices, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeBatch {
    /// Each with a number that is its own.
    pub notices: Vec<(u64, Notice)>,
    /// What to pass the next time.
    pub next: u64,
}

/// The part of the store that knows who may not come in.
#[async_trait]
pub trait Moderation: Send + Sync + 'static {
    /// Bans a player, or changes the ban's reason, and records the deed with it. False if there is no such player, or no
    /// more.
    async fn ban(&self, player: PlayerId, reason: &str, deed: &NewAuditEntry) -> Result<bool>;

    /// Lifts a player's ban and records the deed with it. False if there is none, or the account was erased.
    async fn unban(&self, player: PlayerId, deed: &NewAuditEntry) -> Result<bool>;

    /// Has every instance close the player's connections, and records the deed with it. False if there is no such
    /// player.
    async fn disconnect(&self, player: PlayerId, deed: &NewAuditEntry) -> Result<bool>;

    /// Bans of players with an id over `after`, by id, at most `limit`.
    async fn bans(&self, after: Option<PlayerId>, limit: u32) -> Result<Vec<BanRow>>;

    /// Ends a sign-in: its refresh tokens are good for nothing any more, and every instance hears of it. `ttl` is how
    /// long an access token of it may still live. A sign-in that there never was can be ended too.
    async fn sign_out(&self, family: FamilyId, ttl: Duration) -> Result<()>;

    /// What has changed since the call that gave `after`; all that is kept, for 0. A notice may come more than once, in
    /// calls that follow each other, under the same number.
    async fn notices(&self, after: u64) -> Result<NoticeBatch>;
}
