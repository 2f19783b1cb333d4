//! Who is asking: access tokens that prove it without a look at the store, and refresh tokens that renew them.
//!
//! An access token is a JWT (HS256) and good until it ends; nothing revokes it, so its life is short. A refresh token
//! is opaque, stored only as a hash, and used once: see [`refresh`](Auth::refresh).

mod identity;
mod refresh;
pub mod secret;
mod sign_in;
mod token;

pub use identity::{Identity, Scope};
pub use refresh::REFRESH_GRACE;
pub use secret::Secret;
pub use sign_in::{RefreshError, guest_name};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use std::sync::Arc;
use std::time::Duration;

/// How tokens are made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Signs every token. Another secret ends every session.
    pub secret: Secret,
    /// How long an access token lives.
    pub access_ttl: Duration,
    /// How long a refresh token lives that is not used.
    pub refresh_ttl: Duration,
    /// Whether anyone may sign in by a name alone.
    pub guest: bool,
}

/// Makes and checks tokens. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    tokens: token::Tokens,
    refresh: refresh::Key,
    access_ttl: Duration,
    refresh_ttl: Duration,
    guest: bool,
}

impl Auth {
    /// Gets ready to make and check tokens.
    pub fn new(options: Options) -> Auth {
        let Options { secret, access_ttl, refresh_ttl, guest } = options;
        Auth(Arc::new(Inner {
            tokens: token::Tokens::new(&secret),
            refresh: refresh::Key::new(&secret),
            access_ttl,
            refresh_ttl,
            guest,
        }))
    }

    /// Whether anyone may sign in by a name alone.
    pub fn guests_welcome(&self) -> bool {
        self.0.guest
    }
}

/// The token in `Authorization: Bearer`, if there is one.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}
