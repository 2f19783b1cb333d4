//! What a checked access token says.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::server::PlayerRef;

use crate::store::FamilyId;

/// Whoever a token was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The player it speaks for. A player's token always has one; a token of another scope may.
    pub player: Option<PlayerRef>,
    /// What it is good for.
    pub scope: Scope,
    /// The scope of idempotency keys: alike for all tokens of one player or service, unlike for any two of them.
    pub subject: String,
    /// The sign-in that it belongs to, if any.
    pub family: Option<FamilyId>,
    /// When the token ends.
    pub expires_at: UnixMillis,
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What a player may do.
    Player,
    /// What the host app's backend may do.
    Service,
    /// Looking at everything.
    Admin,
}

impl Scope {
    /// The name in a token; a player's has none.
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Player => None,
            Self::Service => Some("service"),
            Self::Admin => Some("admin"),
        }
    }
}
