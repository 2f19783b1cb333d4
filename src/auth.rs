//! Who is asking: access tokens that prove it without a look at the store, and refresh tokens that renew them.
//!
//! An access token is a JWT (HS256). A refresh token is opaque, stored only as a hash, and used once: see
//! [`refresh`](Auth::refresh). Two secrets may be known at once: one signs, both are believed, so that a secret can be
//! changed without ending anybody's session.

mod header;
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
    /// Signs every token.
    pub secret: Secret,
    /// Believed too, and signs nothing: the former secret, or the one to come.
    pub accepted_secret: Option<Secret>,
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
    refresh: refresh::Keys,
    access_ttl: Duration,
    refresh_ttl: Duration,
    guest: bool,
}

impl Auth {
    /// Gets ready to make and check tokens.
    pub fn new(options: Options) -> Auth {
        let Options { secret, accepted_secret, access_ttl, refresh_ttl, guest } = options;
        Auth(Arc::new(Inner {
            tokens: token::Tokens::new(&secret, accepted_secret.as_ref()),
            refresh: refresh::Keys::new(&secret, accepted_secret.as_ref()),
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
