//! Tokens of other issuers, such as the host app's own, verified by the public keys that the issuer
//! publishes.
//!
//! `keys` holds an issuer's keys, `claims` validates a token's claims once its signature is
//! verified, `jwks_source` fetches keys, and `player_cache` remembers recent players. A token with
//! a known key and a known subject needs neither a request nor a store read.

mod claims;
mod jwks_source;
mod keys;
mod options;
mod player_cache;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub(super) use claims::sanitize_player_name as player_name;
use claims::{ClaimsError, TokenSubject};
pub use jwks_source::JwksSource;
use keys::{KeySet, SignatureError};
pub use options::IssuerOptions;
use parking_lot::RwLock;
use player_cache::PlayerCache;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, UnixMillis};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::access_token::{TOKEN_EXPIRED, TOKEN_NOT_VALID};
use super::jwt_header::JwtHeader;
use super::{Identity, Scope, TELEGRAM_PREFIX};
use crate::error::Error;
use crate::store::{Store, StoreError};
use crate::telemetry::{JwksFetchOutcome, metrics};

/// Age at which keys are fetched again.
const KEYS_AGE_MAX: Duration = Duration::from_secs(900);
/// Interval between fetches while they fail.
const KEYS_RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// Shortest interval between two fetches that tokens with unknown keys cause.
const UNKNOWN_KEY_RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// A player's identity at another issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalIdentity {
    /// External id under which the store knows the player.
    pub external_id: String,
    /// Name that a new player gets.
    pub name: String,
}

/// Verifier for the tokens of all configured issuers.
pub(super) struct ExternalTokenVerifier {
    issuers: Vec<Issuer>,
    player_cache: PlayerCache,
}

struct Issuer {
    options: IssuerOptions,
    /// Prefixes of external ids that belong to Telegram or to another issuer, and that begin with
    /// this issuer's own.
    reserved_prefixes: Vec<String>,
    keys: RwLock<Option<Arc<KeySet>>>,
    /// Time of the latest fetch. Locked while a fetch runs.
    keys_requested_at: Mutex<Option<Instant>>,
    keys_loaded_at: RwLock<Option<Instant>>,
}

impl ExternalTokenVerifier {
    pub(super) fn new(issuers: Vec<IssuerOptions>) -> ExternalTokenVerifier {
        let mut prefixes = vec![TELEGRAM_PREFIX.to_owned()];
        prefixes.extend(
            issuers
                .iter()
                .map(|issuer| issuer.external_id_prefix.clone()),
        );
        ExternalTokenVerifier {
            issuers: issuers
                .into_iter()
                .map(|options| Issuer::new(options, &prefixes))
                .collect(),
            player_cache: PlayerCache::default(),
        }
    }

    /// Reads these players from the store again when they are next seen.
    pub(super) fn forget_players(&self, is_changed: impl Fn(PlayerId) -> bool) {
        self.player_cache.forget(is_changed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Returns the identity of a token. A player is created at first sight.
    pub(super) async fn authenticate(
        &self,
        store: &dyn Store,
        token: &str,
        now: UnixMillis,
    ) -> Result<Identity, Error> {
        let (claimed, expires_at) = self.verify(token, now).await?;
        let identity = |player, scope, subject| Identity {
            player,
            scope,
            subject,
            family: None,
            expires_at,
        };
        Ok(match claimed {
            TokenSubject::Player(external) => {
                let player = self
                    .find_or_create_player(store, &external, now)
                    .await
                    .map_err(|error| {
                        warn!(
                            ?error,
                            "looking up the player of an external token failed; request refused as unavailable"
                        );
                        Error::Unavailable
                    })?;
                let subject = player.id.to_string();
                identity(Some(player), Scope::Player, subject)
            }
            TokenSubject::Service(subject) => {
                identity(None, Scope::Service, format!("service:{subject}"))
            }
            TokenSubject::Admin(subject) => {
                identity(None, Scope::Admin, format!("admin:{subject}"))
            }
        })
    }

    /// Returns the external identity in a token, if it is a player's.
    pub(super) async fn verify_external_identity(
        &self,
        token: &str,
        now: UnixMillis,
    ) -> Result<ExternalIdentity, Error> {
        match self.verify(token, now).await? {
            (TokenSubject::Player(external), _) => Ok(external),
            _ => Err(TOKEN_NOT_VALID),
        }
    }

    async fn find_or_create_player(
        &self,
        store: &dyn Store,
        external: &ExternalIdentity,
        now: UnixMillis,
    ) -> Result<PlayerRef, StoreError> {
        if let Some(player) = self.player_cache.get(&external.external_id, now) {
            return Ok(player);
        }
        let player = store
            .find_or_create_by_identity(&external.external_id, &external.name)
            .await?;
        self.player_cache
            .insert(&external.external_id, player.clone(), now);
        Ok(player)
    }

    async fn verify(
        &self,
        token: &str,
        now: UnixMillis,
    ) -> Result<(TokenSubject, UnixMillis), Error> {
        let header = JwtHeader::parse(token).ok_or(TOKEN_NOT_VALID)?;
        let issuer = claims::unverified_issuer(token).ok_or(TOKEN_NOT_VALID)?;
        let issuer = self
            .issuers
            .iter()
            .find(|known| known.options.issuer == issuer)
            .ok_or(TOKEN_NOT_VALID)?;
        let claims = match issuer.verify(&header, token) {
            Err(SignatureError::UnknownKey) => {
                let are_keys_new = issuer.reload_keys_for_unknown_key().await;
                let keys_age = issuer.keys_age();
                let may_have_new_key = keys_age.is_none_or(|age| {
                    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                    claims::may_have_new_key(token, now.plus(-age), now)
                });
                match issuer.verify(&header, token) {
                    // The issuer may have published the key since the last fetch.
                    Err(SignatureError::UnknownKey) if !are_keys_new && may_have_new_key => {
                        return Err(Error::Unavailable);
                    }
                    verified => verified.map_err(|_| TOKEN_NOT_VALID)?,
                }
            }
            verified => verified.map_err(|_| TOKEN_NOT_VALID)?,
        };
        claims::validate_claims(&claims, &issuer.options, &issuer.reserved_prefixes, now).map_err(
            |error| match error {
                ClaimsError::Expired => TOKEN_EXPIRED,
                ClaimsError::NotAccepted => TOKEN_NOT_VALID,
            },
        )
    }

    /// Keeps the keys of all issuers fresh until dropped.
    pub(super) async fn poll_issuer_keys(&self) {
        if self.issuers.is_empty() {
            return;
        }
        loop {
            let mut next = KEYS_AGE_MAX;
            for issuer in &self.issuers {
                if issuer.keys_age().is_none_or(|age| age >= KEYS_AGE_MAX) {
                    issuer.reload_keys().await;
                }
                let fresh = issuer.keys_age().is_some_and(|age| age < KEYS_AGE_MAX);
                next = next.min(if fresh {
                    KEYS_AGE_MAX / 2
                } else {
                    KEYS_RETRY_INTERVAL
                });
            }
            let ages = self.issuers.iter().map(|issuer| {
                issuer
                    .keys_age()
                    .map_or(f64::INFINITY, |age| age.as_secs_f64())
            });
            metrics().jwks_age.set(ages.fold(0.0, f64::max));
            sleep(next).await;
        }
    }
}

impl Issuer {
    /// `prefixes` are those of Telegram and of all issuers.
    fn new(options: IssuerOptions, prefixes: &[String]) -> Issuer {
        let own = options.external_id_prefix.as_str();
        let reserved_prefixes = prefixes
            .iter()
            .filter(|prefix| *prefix != own && prefix.starts_with(own))
            .cloned()
            .collect();
        Issuer {
            options,
            reserved_prefixes,
            keys: RwLock::default(),
            keys_requested_at: Mutex::default(),
            keys_loaded_at: RwLock::default(),
        }
    }

    fn keys_age(&self) -> Option<Duration> {
        self.keys_loaded_at.read().map(|loaded| loaded.elapsed())
    }

    fn verify(&self, header: &JwtHeader, token: &str) -> Result<claims::ClaimsMap, SignatureError> {
        let keys = self.keys.read().clone().ok_or(SignatureError::UnknownKey)?;
        keys.verify(header, token)
    }

    /// Fetches keys unless a fetch was just made: no number of tokens causes more frequent fetches.
    /// Returns whether the keys are those that the issuer publishes now.
    async fn reload_keys_for_unknown_key(&self) -> bool {
        let asked_at = Instant::now();
        let mut requested_at = self.keys_requested_at.lock().await;
        if requested_at.is_none_or(|at| at.elapsed() >= UNKNOWN_KEY_RELOAD_INTERVAL) {
            *requested_at = Some(Instant::now());
            self.load_keys().await;
        }
        // Another caller may have fetched them while this one waited.
        self.keys_loaded_at.read().is_some_and(|at| at >= asked_at)
    }

    async fn reload_keys(&self) {
        let mut requested_at = self.keys_requested_at.lock().await;
        *requested_at = Some(Instant::now());
        self.load_keys().await;
    }

    /// Fetches the issuer's keys. If that fails, the last good set stays in use.
    async fn load_keys(&self) {
        let issuer = &self.options.issuer;
        let parsed = match self.options.jwks.fetch().await {
            Ok(bytes) => KeySet::parse(&bytes).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match parsed {
            Ok(keys) => {
                metrics().jwks_fetches.increment(JwksFetchOutcome::Loaded);
                info!(
                    issuer,
                    keys = keys.len(),
                    skipped = keys.skipped,
                    "issuer keys loaded"
                );
                *self.keys.write() = Some(Arc::new(keys));
                *self.keys_loaded_at.write() = Some(Instant::now());
            }
            Err(error) => {
                metrics().jwks_fetches.increment(JwksFetchOutcome::Failed);
                warn!(
                    issuer,
                    error, "loading issuer keys failed; the known keys stay in use"
                );
            }
        }
    }
}
