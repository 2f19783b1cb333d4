//! What a checked access token says.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::server::PlayerRef;

use crate::session::Caller;

/// Whoever a token was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub who: Who,
    /// The scope of idempotency keys: alike for all tokens of one player or service, unlike for any two of them.
    pub subject: String,
    /// When the token ends.
    pub expires_at: UnixMillis,
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A player.
    Player(PlayerRef),
    /// The host app's backend.
    Service,
    /// An operator.
    Admin,
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

impl Identity {
    /// The player, if it is one.
    pub const fn player(&self) -> Option<&PlayerRef> {
        match &self.who {
            Who::Player(player) => Some(player),
            Who::Service | Who::Admin => None,
        }
    }

    /// What the token is good for.
    pub const fn scope(&self) -> Scope {
        match self.who {
            Who::Player(_) => Scope::Player,
            Who::Service => Scope::Service,
            Who::Admin => Scope::Admin,
        }
    }

    /// Whom a session sees.
    pub const fn caller(&self) -> Caller {
        match &self.who {
            Who::Player(player) => Caller::Player(player.id),
            Who::Service => Caller::Service,
            Who::Admin => Caller::Admin,
        }
    }
}
