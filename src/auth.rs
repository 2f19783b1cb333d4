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
pub use external::{ExternalIdentity, IssuerOptions, JwksSource as IssuerSource};
pub use identity::{Identity, Scope};
use raidhall_protocol::{PlayerId, UnixMillis};
pub use refresh_token::REFRESH_GRACE;
pub use revocation_poller::RevocationPoller;
pub(crate) use revoked_sessions::BANNED;
use revoked_sessions::RevocationList;
pub use revoked_sessions::RevokedSessions;
pub use secret::AuthSecret;
pub use sign_in::{RefreshError, validate_player_name};
pub use telegram::{BotToken, TELEGRAM_PREFIX, TelegramUser};
use tokio::sync::Notify;

use crate::error::Error;
use crate::store::{Notice, Store};
use crate::telemetry::metrics;

/// How tokens are made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Signs every token.
    pub secret: AuthSecret,
    /// Believed too, and signs nothing: the former secret, or the one to come.
    pub accepted_secret: Option<AuthSecret>,
    /// How long an access token lives.
    pub access_ttl: Duration,
    /// How long a refresh token lives that is not used.
    pub refresh_ttl: Duration,
    /// Whether anyone may sign in by a name alone.
    pub can_guests_sign_in: bool,
    /// Whose tokens are believed besides our own.
    pub issuers: Vec<IssuerOptions>,
    /// The bot whose users may sign in, and how old what Telegram says of them may be.
    pub telegram: Option<(BotToken, Duration)>,
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
    /// Gets ready to make and check tokens.
    pub fn new(options: Options) -> Auth {
        let Options {
            secret,
            accepted_secret,
            access_ttl,
            refresh_ttl,
            can_guests_sign_in: guest,
            issuers,
            telegram,
        } = options;
        Auth(Arc::new(AuthInner {
            access_keys: access_token::AccessTokenKeys::new(&secret, accepted_secret.as_ref()),
            rotation_keys: refresh_token::RotationKeys::new(&secret, accepted_secret.as_ref()),
            access_ttl,
            refresh_ttl,
            can_guests_sign_in: guest,
            external_tokens: ExternalTokenVerifier::new(issuers),
            telegram: telegram
                .map(|(token, age_max)| telegram::InitDataVerifier::new(&token, age_max)),
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
        access_token::TOKEN_EXPIRED => "expired",
        revoked_sessions::BANNED => "banned",
        revoked_sessions::SIGNED_OUT => "signed_out",
        Error::Unavailable => "unavailable",
        _ => "not_valid",
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
