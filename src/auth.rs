//! Who is asking: access tokens that prove it without a look at the store, and refresh tokens that renew them.
//!
//! An access token is a JWT (HS256). A refresh token is opaque, stored only as a hash, and used once: see
//! [`refresh`](Auth::refresh). Two secrets may be known at once: one signs, both are believed, so that a secret can be
//! changed without ending anybody's session.

mod access_token;
mod external;
mod identity;
mod jwt_header;
mod refresh_token;
mod revocation_poller;
mod revoked_sessions;
pub mod secret;
mod sign_in;
mod telegram;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use external::ExternalTokenVerifier;
pub use external::{ExternalIdentity, IssuerOptions, JwksSource};
pub use identity::{Identity, Scope};
use raidhall_protocol::{PlayerId, UnixMillis};
pub use refresh_token::REFRESH_GRACE;
pub use revocation_poller::RevocationPoller;
pub(crate) use revoked_sessions::BANNED;
use revoked_sessions::RevocationList;
pub use revoked_sessions::RevokedSessions;
pub use secret::AuthSecret;
use serde::Deserialize;
pub use sign_in::{RefreshError, validate_player_name};
pub use telegram::{BotToken, TELEGRAM_PREFIX, TelegramUser};
use tokio::sync::Notify;

use crate::error::Error;
use crate::option_value::secs;
use crate::store::{Notice, Store};
use crate::telemetry::{TokenRefusal, metrics};

/// Secrets, issuers and lifetimes of tokens.
#[derive(Debug, Clone, Deserialize)]
pub struct Options {
    /// Signs every token. `None` only with SQLite, where one is made and kept beside the database.
    #[serde(deserialize_with = "secret::deserialize_optional")]
    pub secret: Option<AuthSecret>,
    /// Accepted besides `secret`, and signs nothing: the former secret, or the one to come.
    #[serde(deserialize_with = "secret::deserialize_optional")]
    pub accepted_secret: Option<AuthSecret>,
    /// How long an access token is valid.
    #[serde(rename = "access_ttl_secs", deserialize_with = "secs")]
    pub access_ttl: Duration,
    /// How long an unused refresh token is valid.
    #[serde(rename = "refresh_ttl_secs", deserialize_with = "secs")]
    pub refresh_ttl: Duration,
    /// Whether anyone may sign in by a name alone.
    #[serde(rename = "guest")]
    pub can_guests_sign_in: bool,
    /// The issuers whose tokens are accepted besides our own.
    pub issuers: Vec<IssuerOptions>,
    /// The token of the bot whose users may sign in; `None` if Telegram's users may not.
    #[serde(deserialize_with = "telegram::deserialize_bot_token")]
    pub telegram_bot_token: Option<BotToken>,
    /// How old Telegram's statement about its user may be.
    #[serde(rename = "telegram_age_max_secs", deserialize_with = "secs")]
    pub telegram_age_max: Duration,
}

/// Makes and checks tokens. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<AuthInner>);

struct AuthInner {
    access_keys: access_token::AccessTokenKeys,
    rotation_keys: refresh_token::RotationKeys,
    access_ttl: Duration,
    refresh_ttl: Duration,
    can_guests_sign_in: bool,
    external_tokens: ExternalTokenVerifier,
    telegram: Option<telegram::InitDataVerifier>,
    revocations: RevocationList,
    poll_requested: Notify,
}

impl Auth {
    /// Signs with `secret`; `options.secret` is ignored.
    pub fn new(secret: &AuthSecret, options: Options) -> Auth {
        let accepted_secret = options.accepted_secret.as_ref();
        let telegram = options
            .telegram_bot_token
            .map(|token| telegram::InitDataVerifier::new(&token, options.telegram_age_max));
        Auth(Arc::new(AuthInner {
            access_keys: access_token::AccessTokenKeys::new(secret, accepted_secret),
            rotation_keys: refresh_token::RotationKeys::new(secret, accepted_secret),
            access_ttl: options.access_ttl,
            refresh_ttl: options.refresh_ttl,
            can_guests_sign_in: options.can_guests_sign_in,
            external_tokens: ExternalTokenVerifier::new(options.issuers),
            telegram,
            revocations: RevocationList::default(),
            poll_requested: Notify::new(),
        }))
    }

    /// Whether a token that was genuine is good still: its player is not banned, its sign-in not ended.
    ///
    /// # Errors
    ///
    /// `Forbidden` for whoever is banned, `Unauthenticated` for whoever has signed out.
    pub fn check_not_revoked(&self, identity: &Identity) -> Result<(), Error> {
        self.0.revocations.check(identity)
    }

    /// Whether the player may not come in, as far as this instance has heard.
    pub fn is_banned(&self, player: PlayerId) -> bool {
        self.0.revocations.is_banned(player)
    }

    /// Who holds an access token, ours or foreign. Ours is checked as by [`Auth::verify`], without a look at anything but
    /// memory. A foreign one may have its issuer's keys asked for, and its player looked up or made.
    ///
    /// # Errors
    ///
    /// As [`Auth::verify`]; `Unavailable` when the store, or the issuer's keys, cannot be had.
    pub async fn authenticate(
        &self,
        store: &dyn Store,
        token: &str,
        now: UnixMillis,
    ) -> Result<Identity, Error> {
        if let Some(identified) = self.authenticate_locally(token, now) {
            return identified;
        }
        // Boxed, for it may have to ask others over HTTP: every connection's task would have room for that as long as it lives.
        let identified = Box::pin(self.0.external_tokens.authenticate(store, token, now)).await;
        let standing =
            identified.and_then(|identity| self.check_not_revoked(&identity).map(|()| identity));
        standing.inspect_err(count_refusal)
    }

    /// The same without waiting for anybody; none if the token may be foreign.
    pub fn authenticate_locally(
        &self,
        token: &str,
        now: UnixMillis,
    ) -> Option<Result<Identity, Error>> {
        let may_be_foreign = !self.0.external_tokens.is_empty()
            && jwt_header::JwtHeader::parse(token).is_some_and(|header| header.alg != "HS256");
        (!may_be_foreign).then(|| self.verify(token, now).inspect_err(count_refusal))
    }

    /// Whom a foreign token vouches for.
    ///
    /// # Errors
    ///
    /// As [`Auth::authenticate`].
    pub async fn verify_external_identity(
        &self,
        token: &str,
        now: UnixMillis,
    ) -> Result<ExternalIdentity, Error> {
        self.0
            .external_tokens
            .verify_external_identity(token, now)
            .await
    }

    /// Whether users of Telegram may sign in.
    pub fn can_telegram_users_sign_in(&self) -> bool {
        self.0.telegram.is_some()
    }

    /// Whom Telegram vouches for by a Mini App's init data; none if it does not, or not any more. The proof has to be used
    /// up before anybody is let in by it.
    pub fn verify_init_data(&self, init_data: &str, now: UnixMillis) -> Option<TelegramUser> {
        self.0.telegram.as_ref()?.verify(init_data, now)
    }

    /// Keeps the issuers' keys fresh until dropped.
    pub async fn poll_issuer_keys(self) {
        self.0.external_tokens.poll_issuer_keys().await;
    }

    /// Has the [`RevocationPoller`] look at once: something was changed here.
    pub fn request_revocation_poll(&self) {
        self.0.poll_requested.notify_one();
    }

    async fn poll_requested(&self) {
        self.0.poll_requested.notified().await;
    }

    fn apply_notices(&self, notices: impl IntoIterator<Item = Notice>, now: UnixMillis) {
        self.0.revocations.apply(notices, now);
    }

    fn replace_revocations(
        &self,
        banned: HashSet<PlayerId>,
        notices: Vec<Notice>,
        now: UnixMillis,
    ) {
        self.0.revocations.apply(notices, now);
        self.0.revocations.replace_bans(banned);
    }

    /// Whether anyone may sign in by a name alone.
    pub fn can_guests_sign_in(&self) -> bool {
        self.0.can_guests_sign_in
    }
}

fn count_refusal(error: &Error) {
    let cause = match *error {
        access_token::TOKEN_EXPIRED => TokenRefusal::Expired,
        revoked_sessions::BANNED => TokenRefusal::Banned,
        revoked_sessions::SIGNED_OUT => TokenRefusal::SignedOut,
        Error::Unavailable => TokenRefusal::Unavailable,
        _ => TokenRefusal::NotValid,
    };
    metrics().tokens_refused.increment(cause);
}

/// The token in `Authorization: Bearer`, if there is one.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}
