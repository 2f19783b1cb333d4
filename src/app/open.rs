//! Opening what the configuration names: the database and the secret.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::StartError;
use crate::auth::{self, Auth, AuthSecret, BotToken, IssuerOptions, TELEGRAM_PREFIX};
use crate::cluster::bus::BusInputReceiver;
use crate::cluster::bus::redis::{
    RedisBus, RedisBusDriver, RedisOptions, SharedLimits, SharedLimitsDriver,
};
use crate::config::{BusKind, Config, DatabaseKind, IssuerConfig};
use crate::store::postgres::{PostgresOptions, PostgresStore};
use crate::store::sqlite::SqliteStore;
use crate::store::{InstanceId, RegisterError, Store, StoreError};

/// A bus, what drives it, and what it delivers.
pub(super) type ConnectedBus = (Arc<RedisBus>, RedisBusDriver, BusInputReceiver);

/// How much longer than a lease a start waits for a former instance to be gone.
const REGISTER_TIMEOUT_MARGIN: Duration = Duration::from_secs(1);

/// How long a start waits for the database's lock and for former leases to run out.
pub(super) fn register_timeout(config: &Config) -> Duration {
    config.lease.ttl + REGISTER_TIMEOUT_MARGIN
}

/// The database, with its schema up to date if `database.migrate` says so.
pub(super) async fn store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    open_store(config, config.database.migrate).await
}

/// The database, with its schema up to date.
pub(super) async fn migrated_store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    open_store(config, true).await
}

/// The database with whatever schema it has: for a look, while a server may have its lock.
pub(super) async fn unmigrated_store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    open_store(config, false).await
}

async fn open_store(config: &Config, migrate: bool) -> Result<Arc<dyn Store>, StartError> {
    let what = || format!("the database {}", config.database.url);
    match config.database.url.kind() {
        DatabaseKind::Sqlite => {
            let store = SqliteStore::open(
                config.database.url.expose(),
                config.database.connections_max,
            );
            let store = store
                .await
                .map_err(|error| StartError::from_store(what(), error))?;
            if migrate {
                store
                    .migrate(register_timeout(config))
                    .await
                    .map_err(|error| register_error(what(), error))?;
            }
            Ok(Arc::new(store))
        }
        DatabaseKind::Postgres => {
            let store = postgres(config)
                .await
                .map_err(|error| StartError::from_store(what(), error))?;
            if migrate {
                store
                    .migrate()
                    .await
                    .map_err(|error| StartError::from_store(what(), error))?;
            }
            Ok(Arc::new(store))
        }
    }
}

/// The Postgres that the configuration names.
pub(super) async fn postgres(config: &Config) -> Result<PostgresStore, StoreError> {
    PostgresStore::connect(PostgresOptions {
        url: config.database.url.expose().to_owned(),
        connections_max: config.database.connections_max,
        statement_timeout: config.store.statement_timeout,
        connect_timeout: config.store.connect_timeout,
        is_exclusive: config.bus.url.kind() == BusKind::Local,
    })
    .await
}

pub(super) fn register_error(what: String, error: RegisterError) -> StartError {
    match error {
        RegisterError::InUse => StartError::AlreadyRunning(what),
        RegisterError::Store(error) => StartError::from_store(what, error),
    }
}

/// What signs tokens: the configured secret, or with SQLite one that is made once and kept beside the database.
pub(super) async fn secret(config: &Config) -> Result<AuthSecret, StartError> {
    if let Some(secret) = &config.auth.secret {
        let secret = AuthSecret::new(secret.expose().as_bytes());
        return Ok(secret.context("auth.secret is too short")?);
    }
    let database = config
        .database
        .url
        .sqlite_path()
        .context("auth.secret is not set")?;
    let mut path = database.into_os_string();
    path.push(".secret");
    let path = PathBuf::from(path);
    let made = tokio::task::spawn_blocking(move || auth::secret::load_or_create(&path));
    Ok(made
        .await
        .context("keep the secret")?
        .context("keep the secret")?)
}

/// What is believed besides, if anything.
pub(super) fn accepted_secret(config: &Config) -> Result<Option<AuthSecret>, StartError> {
    let Some(secret) = &config.auth.accepted_secret else {
        return Ok(None);
    };
    let secret = AuthSecret::new(secret.expose().as_bytes());
    Ok(Some(secret.context("auth.accepted_secret is too short")?))
}

pub(super) fn auth(
    config: &Config,
    secret: AuthSecret,
    accepted_secret: Option<AuthSecret>,
) -> Auth {
    Auth::new(auth::Options {
        secret,
        accepted_secret,
        access_ttl: config.auth.access_ttl,
        refresh_ttl: config.auth.refresh_ttl,
        can_guests_sign_in: config.auth.guest,
        telegram: telegram(config),
        issuers: config
            .auth
            .issuers
            .iter()
            .map(|issuer| issuer_options(issuer, config))
            .collect(),
    })
}

fn telegram(config: &Config) -> Option<(BotToken, Duration)> {
    let token = config.auth.telegram_bot_token.as_ref()?;
    Some((BotToken::new(token.expose()), config.auth.telegram_age_max))
}

fn issuer_options(issuer: &IssuerConfig, config: &Config) -> IssuerOptions {
    let prefixes = config
        .auth
        .issuers
        .iter()
        .map(|other| other.external_id_prefix.clone());
    let ours = &issuer.external_id_prefix;
    // Whoever has a longer prefix is not to be met under a shorter one.
    let longer = |prefix: &String| prefix != ours && prefix.starts_with(ours.as_str());
    let others_prefixes = prefixes
        .chain([TELEGRAM_PREFIX.to_owned()])
        .filter(longer)
        .collect();
    IssuerOptions {
        issuer: issuer.issuer.clone(),
        audience: issuer.audience.clone(),
        jwks: issuer.jwks.clone(),
        subject_claim: issuer.subject_claim.clone(),
        name_claim: issuer.name_claim.clone(),
        external_id_prefix: ours.clone(),
        scope_claim: Some(issuer.scope_claim.clone()).filter(|claim| !claim.is_empty()),
        lifetime_max: issuer.lifetime_max,
        reserved_prefixes: others_prefixes,
    }
}

/// The bus that the configuration names: none for an instance that is alone. It connects when its driver runs.
pub(super) fn bus(
    config: &Config,
    instance: InstanceId,
) -> Result<Option<ConnectedBus>, StartError> {
    let Some(options) = redis_options(config, instance)? else {
        return Ok(None);
    };
    let (bus, driver, deliveries) = RedisBus::new(options).context("use the bus")?;
    Ok(Some((bus, driver, deliveries)))
}

/// The rate limits that all instances share: none for an instance that is alone.
pub(super) fn shared_limits(
    config: &Config,
    instance: InstanceId,
) -> Result<Option<(SharedLimits, SharedLimitsDriver)>, StartError> {
    let Some(options) = redis_options(config, instance)? else {
        return Ok(None);
    };
    Ok(Some(SharedLimits::new(&options).context("use the bus")?))
}

fn redis_options(
    config: &Config,
    instance: InstanceId,
) -> Result<Option<RedisOptions>, StartError> {
    if config.bus.url.kind() == BusKind::Local {
        return Ok(None);
    }
    let ca_pem = match &config.bus.ca_file {
        Some(path) => {
            let what = || format!("bus.ca_file {}", path.display());
            Some(std::fs::read(path).map_err(|error| StartError::unavailable(what(), error))?)
        }
        None => None,
    };
    Ok(Some(RedisOptions {
        url: config.bus.url.expose().to_owned(),
        is_cluster: config.bus.cluster,
        ca_pem,
        instance,
    }))
}
