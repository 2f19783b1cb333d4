//! Player accounts and their sign-ins (families of refresh tokens).

use std::time::Duration;

use async_trait::async_trait;
use raidhall_protocol::rest::Profile;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, UnixMillis};
use uuid::Uuid;

use super::Result;

/// Everything that the store keeps about a player outside of raids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The player's name and totals.
    pub profile: Profile,
    /// The player's id in the host app.
    pub external_id: Option<String>,
    /// Sign-ins that can be renewed, oldest first; at most [`SIGN_INS_MAX`].
    pub sign_ins: Vec<SignIn>,
}

/// Maximum number of sign-ins that an [`Account`] lists.
pub const SIGN_INS_MAX: u32 = 1_000;

/// A sign-in without its secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignIn {
    /// When the refresh token was last rotated.
    pub renewed_at: UnixMillis,
    /// When the refresh token expires.
    pub expires_at: UnixMillis,
}

/// Id of a token family: the refresh tokens of one sign-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FamilyId(pub Uuid);

/// SHA-256 of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

/// Request to exchange a refresh token for its replacement.
#[derive(Debug, Clone, Copy)]
pub struct RotationRequest {
    /// The sign-in that the token belongs to.
    pub family: FamilyId,
    /// The token that the client presents.
    pub presented: TokenHash,
    /// The token that replaces `presented` if `presented` is the current one.
    pub replacement: TokenHash,
    /// Time of the request, from which the replacement is valid.
    pub now: UnixMillis,
    /// How long the replacement is valid.
    pub ttl: Duration,
}

/// Outcome of a [`RotationRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationOutcome {
    /// The token was the current one, and its replacement is current now; or it was the previous
    /// one, and the replacement of the first rotation, which has not been presented yet, is returned
    /// again.
    Rotated {
        /// The player who is signed in.
        player: PlayerRef,
        /// The token that is current now.
        current: TokenHash,
    },
    /// The token's replacement has been presented before, or the token was never valid: the family
    /// is revoked.
    Reused,
    /// The family does not exist, has expired or was revoked.
    Unknown,
}

/// Outcome of one batch of a search for unused guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedGuests {
    /// The last player of the batch; `None` if there was none.
    pub last: Option<PlayerId>,
    /// Number of guests that were deleted.
    pub count: u64,
}

/// The accounts and sign-ins of the store.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// Creates a player under a new id.
    async fn create_player(&self, name: &str) -> Result<Profile>;

    /// Returns a player with their totals.
    async fn player(&self, player: PlayerId) -> Result<Option<Profile>>;

    /// Returns everything that the store keeps about a player outside of raids.
    async fn account(&self, player: PlayerId, now: UnixMillis) -> Result<Option<Account>>;

    /// Looks at the next `limit` players after an id, and deletes the guests among them who are not
    /// used: they have no external identity, were never in a raid, have neither been created nor
    /// renewed a sign-in since `unused_since`, have no sign-in that lasts beyond `now`, and are
    /// neither banned nor erased.
    async fn delete_unused_guests(
        &self,
        after: Option<PlayerId>,
        limit: u32,
        unused_since: UnixMillis,
        now: UnixMillis,
    ) -> Result<DeletedGuests>;

    /// Creates a token family, with `token` as its current refresh token.
    async fn create_token_family(
        &self,
        family: FamilyId,
        player: PlayerId,
        token: TokenHash,
        now: UnixMillis,
        ttl: Duration,
    ) -> Result<()>;

    /// Exchanges a refresh token, atomically: the current token is replaced; the previous one
    /// gets the same replacement again; any other token revokes the family.
    async fn rotate_refresh_token(&self, presentation: RotationRequest) -> Result<RotationOutcome>;
}
