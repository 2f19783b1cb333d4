//! Opens the dependencies that the configuration names: the database, the secret, the bus and the
//! shared limits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::StartError;
use crate::auth::{self, AuthSecret};
use crate::cluster::bus::BusConnection;
use crate::cluster::bus::redis::{RedisBus, RedisOptions, SharedLimits, SharedLimitsDriver};
use crate::config::{BusKind, Config, DatabaseKind};
use crate::store::postgres::{PostgresOptions, PostgresStore};
use crate::store::sqlite::SqliteStore;
use crate::store::{InstanceId, RegisterError, Store, StoreError};

/// How much longer than a lease's duration a start waits for a former instance to end.
const REGISTER_TIMEOUT_MARGIN: Duration = Duration::from_secs(1);

/// Returns how long a start waits for the database's lock and for former leases to expire.
pub(super) fn register_timeout(config: &Config) -> Duration {
    config.lease.ttl + REGISTER_TIMEOUT_MARGIN
}

/// Opens the database, and applies pending migrations if `database.migrate` is true.
pub(super) async fn store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    open_store(config, config.database.migrate).await
}

/// Opens the database and applies pending migrations.
pub(super) async fn migrated_store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    open_store(config, true).await
}

/// Opens an existing database as it is, while a server may hold its lock. Also returns whether it
/// has this release's schema.
pub(super) async fn existing_store(config: &Config) -> Result<(Arc<dyn Store>, bool), StartError> {
    let opened: Result<(Arc<dyn Store>, bool), StoreError> = match config.database.url.kind() {
        DatabaseKind::Sqlite => {
            async {
                let store = SqliteStore::open_existing(config.database.url.expose(), 1).await?;
                let is_migrated = store.has_current_schema().await?;
                Ok((Arc::new(store) as _, is_migrated))
            }
            .await
        }
        DatabaseKind::Postgres => {
            async {
                let store = postgres(config).await?;
                let is_migrated = store.has_current_schema().await?;
                Ok((Arc::new(store) as _, is_migrated))
            }
            .await
        }
    };
    opened.map_err(|error| StartError::from_store(database(config), error))
}

/// Opens an existing database that has this release's schema, while a server may hold its lock.
pub(super) async fn current_store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    let (store, is_migrated) = existing_store(config).await?;
    if is_migrated {
        Ok(store)
    } else {
        Err(StartError::NotMigrated(database(config)))
    }
}

async fn open_store(config: &Config, migrate: bool) -> Result<Arc<dyn Store>, StartError> {
    let timeout = register_timeout(config);
    let opened: Result<(Arc<dyn Store>, bool), RegisterError> = match config.database.url.kind() {
        DatabaseKind::Sqlite => {
            async {
                let url = config.database.url.expose();
                let store = SqliteStore::open(url, config.database.connections_max).await?;
                if migrate {
                    store.migrate(timeout).await?;
                }
                let is_migrated = store.has_current_schema().await?;
                Ok((Arc::new(store) as _, is_migrated))
            }
            .await
        }
        DatabaseKind::Postgres => {
            async {
                let store = postgres(config).await?;
                if migrate {
                    store.migrate(timeout).await?;
                }
                let is_migrated = store.has_current_schema().await?;
                Ok((Arc::new(store) as _, is_migrated))
            }
            .await
        }
    };
    match opened {
        Ok((store, true)) => Ok(store),
        Ok((_, false)) => Err(StartError::NotMigrated(database(config))),
        Err(error) => Err(register_error(database(config), error)),
    }
}

/// Returns the name of the database for messages, without its password.
pub(super) fn database(config: &Config) -> String {
    format!("the database {}", config.database.url)
}

/// Connects to the Postgres database that the configuration names.
pub(super) async fn postgres(config: &Config) -> Result<PostgresStore, StoreError> {
    PostgresStore::connect(PostgresOptions {
        url: config.database.url.expose().to_owned(),
        connections_max: config.database.connections_max,
        statement_timeout: config.database.statement_timeout,
        connect_timeout: config.database.connect_timeout,
        is_exclusive: config.bus.url.kind() == BusKind::Local,
    })
    .await
}

pub(super) fn register_error(what: String, error: RegisterError) -> StartError {
    match error {
        RegisterError::InUse => StartError::AlreadyRunning(what),
        RegisterError::OtherGeneration { release } => StartError::OtherGeneration { what, release },
        RegisterError::Store(error) => StartError::from_store(what, error),
    }
}

/// Returns the secret that signs tokens: the configured one, or with SQLite one that is generated
/// once and kept in a file beside the database.
pub(super) async fn secret(config: &Config) -> Result<AuthSecret, StartError> {
    if let Some(secret) = &config.auth.secret {
        return Ok(secret.clone());
    }
    let path = secret_file(config)?;
    let loading = tokio::task::spawn_blocking(move || auth::secret::load_or_create(&path));
    Ok(loading
        .await
        .context("load or create the secret")?
        .context("load or create the secret")?)
}

/// Returns the secret that signs tokens, as [`secret`] does, but creates none.
pub(super) fn existing_secret(config: &Config) -> Result<AuthSecret, StartError> {
    if let Some(secret) = &config.auth.secret {
        return Ok(secret.clone());
    }
    let path = secret_file(config)?;
    let secret = auth::secret::load(&path).context("load the secret")?;
    secret.ok_or_else(|| {
        let what = format!("the secret {}", path.display());
        let why = "there is no such file: run this command where the server runs, with the server's configuration";
        StartError::unavailable(what, anyhow!(why))
    })
}

/// Returns the file of the secret that is generated for a SQLite database.
fn secret_file(config: &Config) -> Result<PathBuf, StartError> {
    let database = config
        .database
        .url
        .sqlite_path()
        .context("auth.secret is not set")?;
    let mut path = database.into_os_string();
    path.push(".secret");
    Ok(path.into())
}

/// Creates the connection to the bus that the configuration names; `None` if the bus is local. It
/// connects once its driver runs.
pub(super) fn bus(
    config: &Config,
    instance: InstanceId,
) -> Result<Option<BusConnection>, StartError> {
    let Some(options) = redis_options(config, instance)? else {
        return Ok(None);
    };
    let (bus, driver, input) = RedisBus::new(options).context("use the bus")?;
    Ok(Some(BusConnection {
        bus,
        driver: Box::pin(driver.run()),
        input,
    }))
}

/// Creates the rate limits that all instances share; `None` if the bus is local.
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
