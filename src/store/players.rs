//! Players, and their sign-ins.

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::rest::Profile;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, UnixMillis};
use uuid::Uuid;

use super::Result;

/// Everything that is kept of a player outside of raids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Name and totals.
    pub profile: Profile,
    /// Their name in the host app.
    pub external_id: Option<String>,
    /// Sign-ins that can be renewed, oldest first; at most [`SIGN_INS_MAX`].
    pub sign_ins: Vec<SignIn>,
}

/// How many sign-ins are told of.
pub const SIGN_INS_MAX: u32 = 1_000;

/// One sign-in, without its secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignIn {
    /// When its token was last renewed.
    pub renewed_at: UnixMillis,
    /// Until when it can be.
    pub expires_at: UnixMillis,
}

/// A family of refresh tokens: one sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FamilyId(pub Uuid);

/// SHA-256 of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

/// A refresh token that is presented, and what is to follow it.
#[derive(Debug, Clone, Copy)]
pub struct RotationRequest {
    /// The sign-in that it is of.
    pub family: FamilyId,
    /// The token.
    pub presented: TokenHash,
    /// The one that replaces it.
    pub replacement: TokenHash,
    /// How long the token before the current one is accepted still.
    pub grace_period: Duration,
    /// How long the successor is good.
    pub ttl: Duration,
}

/// What came of presenting a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationOutcome {
    /// It was the current one (its successor is current now), or the one before within the grace: then the successor is
    /// what it was the first time.
    Rotated {
        /// Who is signed in.
        player: PlayerRef,
        /// The successor that holds.
        current: TokenHash,
    },
    /// It was used before: the family is revoked.
    Reused,
    /// There is no such family, or it has expired or been revoked.
    Unknown,
}

/// The part of the store that knows players.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// Makes a player.
    async fn create_player(&self, name: &str) -> Result<Profile>;

    /// A player with their totals.
    async fn player(&self, player: PlayerId) -> Result<Option<Profile>>;

    /// Everything that is kept of a player outside of raids.
    async fn account(&self, player: PlayerId) -> Result<Option<Account>>;

    /// Begins a family of refresh tokens.
    async fn create_token_family(
        &self,
        family: FamilyId,
        player: PlayerId,
        token: TokenHash,
        ttl: Duration,
    ) -> Result<()>;

    /// Presents a refresh token, atomically: the current one is replaced by its successor; the one before it is accepted for
    /// the grace after that; any other revokes the family.
    async fn rotate_refresh_token(&self, presentation: RotationRequest) -> Result<RotationOutcome>;
}
