//! Tokens that others sign: a host app's own, believed by the public keys that it publishes.
//!
//! `keys` is what it publishes, `claims` what a token says once its signature holds, `fetch` how keys are had, `known` who
//! was seen lately. Nothing is asked of anybody for a token of a known key and a known subject.

mod claims;
mod fetch;
mod keys;
mod known;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub(super) use claims::name as player_name;
use claims::{Claimed, Unfit};
pub use fetch::Source;
use keys::{KeySet, Unusable};
use known::Known;
use parking_lot::RwLock;
use raidhall_protocol::UnixMillis;
use raidhall_protocol::server::PlayerRef;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::header::Header;
use super::token::{EXPIRED, NOT_VALID};
use super::{Identity, Scope};
use crate::error::Error;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics;

/// How old keys become before they are asked for anew.
const KEYS_AGE: Duration = Duration::from_secs(900);
/// While they cannot be had, how often they are asked for.
const KEYS_RETRY: Duration = Duration::from_secs(30);
/// How often an unknown key may have keys asked for.
const UNKNOWN_KEY_EVERY: Duration = Duration::from_secs(10);

/// Somebody whose tokens are believed.
#[derive(Debug, Clone)]
pub struct IssuerOptions {
    /// What `iss` must be.
    pub issuer: String,
    /// What must be in `aud`.
    pub audience: String,
    /// Where the keys are.
    pub jwks: Source,
    /// The claim that names the subject.
    pub subject_claim: String,
    /// The claim that names the player on first sight.
    pub name_claim: String,
    /// What stands before the subject in the player's external id.
    pub external_id_prefix: String,
    /// The claim that may hold `raidhall:service` or `raidhall:admin`; none if this issuer may not give those.
    pub scope_claim: Option<String>,
    /// The longest time between `iat` and `exp`.
    pub lifetime_max: Duration,
    /// External ids that begin so are others'.
    pub others_prefixes: Vec<String>,
}

/// Somebody whom a foreign token vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// The id under which the player is known.
    pub external_id: String,
    /// What to call them on first sight.
    pub name: String,
}

/// Everybody whose tokens are believed.
pub(super) struct Foreign {
    issuers: Vec<Issuer>,
    known: Known,
}

struct Issuer {
    options: IssuerOptions,
    keys: RwLock<Option<Arc<KeySet>>>,
    /// When keys were last asked for. Locked while they are.
    asked: Mutex<Option<Instant>>,
    loaded: RwLock<Option<Instant>>,
}

impl Foreign {
    pub(super) fn new(issuers: Vec<IssuerOptions>) -> Foreign {
        Foreign {
            issuers: issuers.into_iter().map(Issuer::new).collect(),
            known: Known::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Who holds a token, made at first sight if it is a player.
    pub(super) async fn identify(
        &self,
        store: &dyn Store,
        token: &str,
        now: UnixMillis,
    ) -> Result<Identity, Error> {
        let (claimed, expires_at) = self.claimed(token, now).await?;
        let identity = |player, scope, subject| Identity {
            player,
            scope,
            subject,
            family: None,
            expires_at,
        };
        Ok(match claimed {
            Claimed::Player(vouched) => {
                let player = self.player(store, &vouched, now).await.map_err(|error| {
                    warn!(
                        ?error,
                        "a player with a foreign token could not be looked up"
                    );
                    Error::Unavailable
                })?;
                let subject = player.id.to_string();
                identity(Some(player), Scope::Player, subject)
            }
            Claimed::Service(subject) => {
                identity(None, Scope::Service, format!("service:{subject}"))
            }
            Claimed::Admin(subject) => identity(None, Scope::Admin, format!("admin:{subject}")),
        })
    }

    /// Whom a token vouches for, if it is a player's.
    pub(super) async fn vouched(&self, token: &str, now: UnixMillis) -> Result<Vouched, Error> {
        match self.claimed(token, now).await? {
            (Claimed::Player(vouched), _) => Ok(vouched),
            _ => Err(NOT_VALID),
        }
    }

    async fn player(
        &self,
        store: &dyn Store,
        vouched: &Vouched,
        now: UnixMillis,
    ) -> Result<PlayerRef, StoreError> {
        if let Some(player) = self.known.get(&vouched.external_id, now) {
            return Ok(player);
        }
        let player = store
            .find_or_create_by_identity(&vouched.external_id, &vouched.name)
            .await?;
        self.known.put(&vouched.external_id, player.clone(), now);
        Ok(player)
    }

    async fn claimed(&self, token: &str, now: UnixMillis) -> Result<(Claimed, UnixMillis), Error> {
        let header = Header::read(token).ok_or(NOT_VALID)?;
        let issuer = claims::issuer(token).ok_or(NOT_VALID)?;
        let issuer = self
            .issuers
            .iter()
            .find(|known| known.options.issuer == issuer)
            .ok_or(NOT_VALID)?;
        let claims = match issuer.open(&header, token) {
            Err(Unusable::UnknownKey) => {
                issuer.ask_for_unknown_key().await;
                if issuer.keys.read().is_none() {
                    return Err(Error::Unavailable);
                }
                issuer.open(&header, token).map_err(|_| NOT_VALID)?
            }
            opened => opened.map_err(|_| NOT_VALID)?,
        };
        claims::judge(&claims, &issuer.options, now).map_err(|unfit| match unfit {
            Unfit::Expired => EXPIRED,
            Unfit::NotForUs => NOT_VALID,
        })
    }

    /// Keeps everybody's keys fresh until dropped.
    pub(super) async fn keep_keys(&self) {
        if self.issuers.is_empty() {
            return;
        }
        loop {
            let mut next = KEYS_AGE;
            for issuer in &self.issuers {
                if issuer.age().is_none_or(|age| age >= KEYS_AGE) {
                    issuer.ask().await;
                }
                let fresh = issuer.age().is_some_and(|age| age < KEYS_AGE);
                next = next.min(if fresh { KEYS_AGE / 2 } else { KEYS_RETRY });
            }
            let ages = self
                .issuers
                .iter()
                .map(|issuer| issuer.age().map_or(f64::INFINITY, |age| age.as_secs_f64()));
            metrics().jwks_age.set(ages.fold(0.0, f64::max));
            sleep(next).await;
        }
    }
}

impl Issuer {
    fn new(options: IssuerOptions) -> Issuer {
        let (keys, asked, loaded) = (RwLock::default(), Mutex::default(), RwLock::default());
        Issuer {
            options,
            keys,
            asked,
            loaded,
        }
    }

    fn age(&self) -> Option<Duration> {
        self.loaded.read().map(|loaded| loaded.elapsed())
    }

    fn open(&self, header: &Header, token: &str) -> Result<claims::Claims, Unusable> {
        let keys = self.keys.read().clone().ok_or(Unusable::UnknownKey)?;
        keys.open(header, token)
    }

    /// Asks for keys, unless that was done a moment ago: no number of tokens makes us ask more often.
    async fn ask_for_unknown_key(&self) {
        let mut asked = self.asked.lock().await;
        if asked.is_none_or(|at| at.elapsed() >= UNKNOWN_KEY_EVERY) {
            *asked = Some(Instant::now());
            self.load().await;
        }
    }

    async fn ask(&self) {
        let mut asked = self.asked.lock().await;
        *asked = Some(Instant::now());
        self.load().await;
    }

    /// The last good set stays when there is no better one.
    async fn load(&self) {
        let (issuer, source) = (&self.options.issuer, &self.options.jwks);
        let read = match source.fetch().await {
            Ok(bytes) => KeySet::read(&bytes).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(keys) => {
                metrics().jwks_fetches.increment("ok");
                info!(
                    issuer,
                    keys = keys.len(),
                    passed_over = keys.passed_over,
                    "an issuer's keys"
                );
                *self.keys.write() = Some(Arc::new(keys));
                *self.loaded.write() = Some(Instant::now());
            }
            Err(error) => {
                metrics().jwks_fetches.increment("failed");
                warn!(
                    issuer,
                    error, "an issuer's keys cannot be had; those known hold"
                );
            }
        }
    }
}
