//! Authentication: access tokens that are verified without a store read, and refresh tokens that
//! renew them.
//!
//! An access token is a JWT (HS256). A refresh token is opaque, stored only as a hash, and used
//! once: see [`refresh`](Auth::refresh). Two secrets may be known at once: one signs, and tokens of
//! both are accepted, so that a secret can be changed without signing any player out.

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
    /// Secret that signs every token. `None` only with SQLite, where a secret is generated and kept
    /// beside the database.
    #[serde(deserialize_with = "secret::deserialize_optional")]
    pub secret: Option<AuthSecret>,
    /// Secret that is accepted besides `secret` but signs nothing: the former secret, or the next
    /// one.
    #[serde(deserialize_with = "secret::deserialize_optional")]
    pub accepted_secret: Option<AuthSecret>,
    /// Lifetime of an access token.
    #[serde(rename = "access_ttl_secs", deserialize_with = "secs")]
    pub access_ttl: Duration,
    /// Lifetime of an unused refresh token.
    #[serde(rename = "refresh_ttl_secs", deserialize_with = "secs")]
    pub refresh_ttl: Duration,
    /// Whether a player may sign in with nothing but a name.
    #[serde(rename = "guest")]
    pub can_guests_sign_in: bool,
    /// Issuers whose tokens are accepted besides Raidhall's own.
    pub issuers: Vec<IssuerOptions>,
    /// Token of the bot whose users may sign in; `None` if users of Telegram cannot sign in.
    #[serde(deserialize_with = "telegram::deserialize_bot_token")]
    pub telegram_bot_token: Option<BotToken>,
    /// Maximum age of Telegram's signed statement about its user.
    #[serde(rename = "telegram_age_max_secs", deserialize_with = "secs")]
    pub telegram_age_max: Duration,
}

/// Signs and verifies tokens. Cheap to clone.
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
    /// Creates an `Auth` that signs with `secret`; `options.secret` is ignored.
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

    /// Checks that a genuine token is not revoked: its player is not banned and its sign-in has not
    /// ended.
    ///
    /// # Errors
    ///
    /// `Forbidden` if the player is banned, `Unauthenticated` if the sign-in has ended.
    pub fn check_not_revoked(&self, identity: &Identity) -> Result<(), Error> {
        self.0.revocations.check(identity)
    }

    /// Returns whether the player is banned, as far as this instance knows.
    pub fn is_banned(&self, player: PlayerId) -> bool {
        self.0.revocations.is_banned(player)
    }

    /// Returns the identity of an access token, of Raidhall or of another issuer. Raidhall's own
    /// tokens are checked as by [`Auth::verify`], in memory alone. A token of another issuer may
    /// cause a fetch of the issuer's keys and a lookup of its player, who is created at first
    /// sight.
    ///
    /// # Errors
    ///
    /// As [`Auth::verify`]; `Unavailable` when the store or the issuer's keys are not available.
    pub async fn authenticate(
        &self,
        store: &dyn Store,
        token: &str,
        now: UnixMillis,
    ) -> Result<Identity, Error> {
        if let Some(identified) = self.authenticate_locally(token, now) {
            return identified;
        }
        // Boxed because it may send HTTP requests: otherwise every connection's task would reserve
        // the memory for that as long as it lives.
        let identified = Box::pin(self.0.external_tokens.authenticate(store, token, now)).await;
        let checked =
            identified.and_then(|identity| self.check_not_revoked(&identity).map(|()| identity));
        checked.inspect_err(count_refusal)
    }

    /// Does the same as [`Auth::authenticate`] without waiting. Returns `None` if another issuer
    /// may have signed the token.
    pub fn authenticate_locally(
        &self,
        token: &str,
        now: UnixMillis,
    ) -> Option<Result<Identity, Error>> {
        let may_be_foreign = !self.0.external_tokens.is_empty()
            && jwt_header::JwtHeader::parse(token).is_some_and(|header| header.alg != "HS256");
        (!may_be_foreign).then(|| self.verify(token, now).inspect_err(count_refusal))
    }

    /// Returns the external identity in another issuer's token.
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

    /// Returns whether users of Telegram may sign in.
    pub fn can_telegram_users_sign_in(&self) -> bool {
        self.0.telegram.is_some()
    }

    /// Returns the user in a Mini App's init data, or `None` if Telegram's signature is missing,
    /// wrong or too old. The caller must consume the proof before it signs the user in.
    pub fn verify_init_data(&self, init_data: &str, now: UnixMillis) -> Option<TelegramUser> {
        self.0.telegram.as_ref()?.verify(init_data, now)
    }

    /// Keeps the issuers' keys fresh until dropped.
    pub async fn poll_issuer_keys(self) {
        self.0.external_tokens.poll_issuer_keys().await;
    }

    /// Wakes the [`RevocationPoller`] after a change on this instance.
    pub fn request_revocation_poll(&self) {
        self.0.poll_requested.notify_one();
    }

    async fn poll_requested(&self) {
        self.0.poll_requested.notified().await;
    }

    fn apply_notices(&self, notices: &[Notice], now: UnixMillis) {
        let changed: HashSet<_> = notices
            .iter()
            .filter_map(|notice| match notice {
                Notice::BanChanged { player, .. } => Some(*player),
                _ => None,
            })
            .collect();
        if !changed.is_empty() {
            self.0
                .external_tokens
                .forget_players(|player| changed.contains(&player));
        }
        self.0.revocations.apply(notices.iter().copied(), now);
    }

    fn replace_revocations(
        &self,
        banned: HashSet<PlayerId>,
        notices: Vec<Notice>,
        now: UnixMillis,
    ) {
        self.0.external_tokens.forget_players(|_| true);
        self.0.revocations.apply(notices, now);
        self.0.revocations.replace_bans(banned);
    }

    /// Returns whether a player may sign in with nothing but a name.
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

/// Returns the token in `Authorization: Bearer`, if there is one.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}
