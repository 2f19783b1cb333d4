//! The identity that a verified access token proves.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::server::PlayerRef;

use crate::store::FamilyId;

/// Identity of the client that presents a token: a player, the host app's backend or an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The player it speaks for. A player's token always has one; a token of another scope may.
    pub player: Option<PlayerRef>,
    /// The scope of the token.
    pub scope: Scope,
    /// Namespace of idempotency keys: equal for all tokens of one player or service, different for
    /// any two of them.
    pub subject: String,
    /// The sign-in that the token belongs to, if any.
    pub family: Option<FamilyId>,
    /// Time at which the token expires.
    pub expires_at: UnixMillis,
}

/// Scope of a token: the set of things that it permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything that a player may do.
    Player,
    /// Everything that the host app's backend may do.
    Service,
    /// The scope of an operator's token.
    Admin,
}

impl Scope {
    /// Returns the scope's name in a token; `None` for a player's, which names no scope.
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Player => None,
            Self::Service => Some("service"),
            Self::Admin => Some("admin"),
        }
    }
}
