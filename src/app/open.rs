//! Opening what the configuration names: the database and the secret.

use super::StartError;
use crate::auth::{self, Auth, Secret};
use crate::cluster::bus::Deliveries;
use crate::cluster::bus::redis::{Driver, RedisBus, RedisOptions};
use crate::config::{BusKind, Config, DatabaseKind};
use crate::store::postgres::{PostgresOptions, PostgresStore};
use crate::store::sqlite::SqliteStore;
use crate::store::{EnlistError, InstanceId, Store, StoreError};
use anyhow::Context;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A bus, what drives it, and what it delivers.
pub(super) type Connected = (Arc<RedisBus>, Driver, Deliveries);

/// How much longer than a lease a start waits for a former instance to be gone.
const PATIENCE_MARGIN: Duration = Duration::from_secs(1);

/// How long a start waits for the database's lock and for former leases to run out.
pub(super) fn patience(config: &Config) -> Duration {
    config.lease.ttl + PATIENCE_MARGIN
}

/// The database, with its schema up to date if `database.migrate` says so.
pub(super) async fn store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    open(config, config.database.migrate).await
}

/// The database, with its schema up to date.
pub(super) async fn migrated(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    open(config, true).await
}

async fn open(config: &Config, migrate: bool) -> Result<Arc<dyn Store>, StartError> {
    let what = || format!("the database {}", config.database.url);
    match config.database.url.kind() {
        DatabaseKind::Sqlite => {
            let store = SqliteStore::open(config.database.url.expose(), config.database.connections_max);
            let store = store.await.map_err(|error| StartError::of_store(what(), error))?;
            if migrate {
                store.migrate(patience(config)).await.map_err(|error| held(what(), error))?;
            }
            Ok(Arc::new(store))
        }
        DatabaseKind::Postgres => {
            let store = postgres(config).await.map_err(|error| StartError::of_store(what(), error))?;
            if migrate {
                store.migrate().await.map_err(|error| StartError::of_store(what(), error))?;
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
        alone: config.bus.url.kind() == BusKind::Local,
    })
    .await
}

pub(super) fn held(what: String, error: EnlistError) -> StartError {
    match error {
        EnlistError::Held => StartError::AlreadyRunning(what),
        EnlistError::Store(error) => StartError::of_store(what, error),
    }
}

/// What signs tokens: the configured secret, or with SQLite one that is made once and kept beside the database.
pub(super) async fn secret(config: &Config) -> Result<Secret, StartError> {
    if let Some(secret) = &config.auth.secret {
        let secret = Secret::new(secret.expose().as_bytes());
        return Ok(secret.context("auth.secret is too short")?);
    }
    let database = config.database.url.sqlite_path().context("auth.secret is not set")?;
    let mut path = database.into_os_string();
    path.push(".secret");
    let path = PathBuf::from(path);
    let made = tokio::task::spawn_blocking(move || auth::secret::load_or_create(&path));
    Ok(made.await.context("keep the secret")?.context("keep the secret")?)
}

pub(super) fn auth(config: &Config, secret: Secret) -> Auth {
    Auth::new(auth::Options {
        secret,
        access_ttl: config.auth.access_ttl,
        refresh_ttl: config.auth.refresh_ttl,
        guest: config.auth.guest,
    })
}

/// The bus that the configuration names: none for an instance that is alone. It connects when its driver runs.
pub(super) fn bus(config: &Config, instance: InstanceId) -> Result<Option<Connected>, StartError> {
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
    let options = RedisOptions {
        url: config.bus.url.expose().to_owned(),
        cluster: config.bus.cluster,
        ca_pem,
        instance,
    };
    let (bus, driver, deliveries) = RedisBus::new(options).context("use the bus")?;
    Ok(Some((bus, driver, deliveries)))
}
