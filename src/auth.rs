//! Who is asking: access tokens that prove it without a look at the store, and refresh tokens that renew them.
//!
//! An access token is a JWT (HS256). A refresh token is opaque, stored only as a hash, and used once: see
//! [`refresh`](Auth::refresh). Two secrets may be known at once: one signs, both are believed, so that a secret can be
//! changed without ending anybody's session.

mod external;
mod header;
mod identity;
mod refresh;
mod revocation_poller;
mod revoked_sessions;
pub mod secret;
mod sign_in;
mod telegram;
mod token;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use external::Foreign;
pub use external::{IssuerOptions, Source as IssuerSource, Vouched};
pub use identity::{Identity, Scope};
use raidhall_protocol::{PlayerId, UnixMillis};
pub use refresh::REFRESH_GRACE;
pub use revocation_poller::Lookout;
pub(crate) use revoked_sessions::BANNED;
use revoked_sessions::Revoked;
pub use revoked_sessions::Unwelcome;
pub use secret::Secret;
pub use sign_in::{RefreshError, guest_name};
pub use telegram::{BotToken, PREFIX as TELEGRAM_PREFIX, TelegramUser};
use tokio::sync::Notify;

use crate::error::Error;
use crate::store::{Notice, Store};
use crate::telemetry::metrics;

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
    /// Whose tokens are believed besides our own.
    pub issuers: Vec<IssuerOptions>,
    /// The bot whose users may sign in, and how old what Telegram says of them may be.
    pub telegram: Option<(BotToken, Duration)>,
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
    foreign: Foreign,
    telegram: Option<telegram::Telegram>,
    revoked: Revoked,
    changed: Notify,
}

impl Auth {
    /// Gets ready to make and check tokens.
    pub fn new(options: Options) -> Auth {
        let Options {
            secret,
            accepted_secret,
            access_ttl,
            refresh_ttl,
            guest,
            issuers,
            telegram,
        } = options;
        Auth(Arc::new(Inner {
            tokens: token::Tokens::new(&secret, accepted_secret.as_ref()),
            refresh: refresh::Keys::new(&secret, accepted_secret.as_ref()),
            access_ttl,
            refresh_ttl,
            guest,
            foreign: Foreign::new(issuers),
            telegram: telegram.map(|(token, age_max)| telegram::Telegram::new(&token, age_max)),
            revoked: Revoked::default(),
            changed: Notify::new(),
        }))
    }

    /// Whether a token that was genuine is good still: its player is not banned, its sign-in not ended.
    ///
    /// # Errors
    ///
    /// `Forbidden` for whoever is banned, `Unauthenticated` for whoever has signed out.
    pub fn check_standing(&self, identity: &Identity) -> Result<(), Error> {
        self.0.revoked.check(identity)
    }

    /// Whether the player may not come in, as far as this instance has heard.
    pub fn is_banned(&self, player: PlayerId) -> bool {
        self.0.revoked.is_banned(player)
    }

    /// Who holds an access token, ours or foreign. Ours is checked as by [`Auth::verify`], without a look at anything but
    /// memory. A foreign one may have its issuer's keys asked for, and its player looked up or made.
    ///
    /// # Errors
    ///
    /// As [`Auth::verify`]; `Unavailable` when the store, or the issuer's keys, cannot be had.
    pub async fn identify(
        &self,
        store: &dyn Store,
        token: &str,
        now: UnixMillis,
    ) -> Result<Identity, Error> {
        if let Some(identified) = self.identify_at_once(token, now) {
            return identified;
        }
        // Boxed, for it may have to ask others over HTTP: every connection's task would have room for that as long as it lives.
        let identified = Box::pin(self.0.foreign.identify(store, token, now)).await;
        let standing =
            identified.and_then(|identity| self.check_standing(&identity).map(|()| identity));
        standing.inspect_err(count_refusal)
    }

    /// The same without waiting for anybody; none if the token may be foreign.
    pub fn identify_at_once(
        &self,
        token: &str,
        now: UnixMillis,
    ) -> Option<Result<Identity, Error>> {
        let may_be_foreign = !self.0.foreign.is_empty()
            && header::Header::read(token).is_some_and(|header| header.alg != "HS256");
        (!may_be_foreign).then(|| self.verify(token, now).inspect_err(count_refusal))
    }

    /// Whom a foreign token vouches for.
    ///
    /// # Errors
    ///
    /// As [`Auth::identify`].
    pub async fn vouched(&self, token: &str, now: UnixMillis) -> Result<Vouched, Error> {
        self.0.foreign.vouched(token, now).await
    }

    /// Whether users of Telegram may sign in.
    pub fn telegram_welcome(&self) -> bool {
        self.0.telegram.is_some()
    }

    /// Whom Telegram vouches for by a Mini App's init data; none if it does not, or not any more. The proof has to be used
    /// up before anybody is let in by it.
    pub fn telegram_user(&self, init_data: &str, now: UnixMillis) -> Option<TelegramUser> {
        self.0.telegram.as_ref()?.user(init_data, now)
    }

    /// Keeps the issuers' keys fresh until dropped.
    pub async fn keep_keys(self) {
        self.0.foreign.keep_keys().await;
    }

    /// Has the [`Lookout`] look at once: something was changed here.
    pub fn look_again(&self) {
        self.0.changed.notify_one();
    }

    async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn learn(&self, notices: impl IntoIterator<Item = Notice>, now: UnixMillis) {
        self.0.revoked.learn(notices, now);
    }

    fn learn_anew(&self, banned: HashSet<PlayerId>, notices: Vec<Notice>, now: UnixMillis) {
        self.0.revoked.learn(notices, now);
        self.0.revoked.learn_all_bans(banned);
    }

    /// Whether anyone may sign in by a name alone.
    pub fn guests_welcome(&self) -> bool {
        self.0.guest
    }
}

fn count_refusal(error: &Error) {
    let cause = match *error {
        token::EXPIRED => "expired",
        revoked_sessions::BANNED => "banned",
        revoked_sessions::SIGNED_OUT => "signed_out",
        Error::Unavailable => "unavailable",
        _ => "not_valid",
    };
    metrics().tokens_refused.increment(cause);
}

/// The token in `Authorization: Bearer`, if there is one.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}
