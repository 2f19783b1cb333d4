//! The only place where components are wired together.
//!
//! `main` calls [`serve`], which opens the store and the bus that the configuration names.
//! [`Instance::start`] wires the components over any store and any bus; tests call it too.

mod backup;
mod health;
mod instance;
mod lease;
mod open;
mod progression;
mod rebuild;
mod shutdown;
mod signals;
mod tasks;

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
pub use backup::{export, import, new_lineage};
pub use health::check_health;
pub use instance::{Instance, InstanceParts};
pub use progression::{apply_definitions, show_definitions};
use raidhall_protocol::{PlayerId, UnixMillis};
pub use rebuild::rebuild_players;
use thiserror::Error;
use tokio::net::TcpListener;
use tracing::info;

use crate::auth::{Auth, Scope};
use crate::backup::BackupError;
use crate::config::Config;
use crate::random::new_uuid;
use crate::store::{InstanceId, StoreError};
use crate::telemetry;

/// The reason why the server or a command did not start, or failed later. Each variant has an exit
/// code of its own.
#[derive(Debug, Error)]
pub enum StartError {
    /// A dependency is unavailable: the database cannot be reached, an address cannot be bound, a
    /// file cannot be used. Trying again later may help.
    #[error("{what} is unavailable")]
    Unavailable {
        /// The dependency, as a person would name it; never contains a password.
        what: String,
        source: anyhow::Error,
    },
    /// Another instance holds the database and did not release it in time. Trying again later may
    /// help.
    #[error("another instance holds {0}")]
    AlreadyRunning(String),
    /// Instances of a release that cannot run beside this one hold the database, and did not
    /// release it in time.
    #[error(
        "an instance of release {release} uses {what}, and cannot run beside this one: \
         stop all {} instances first",
        release.rsplit_once('.').map_or(release.as_str(), |(series, _)| series)
    )]
    OtherGeneration {
        /// The database, as a person would name it; never contains a password.
        what: String,
        /// The release of the live instance, which cannot run beside this one.
        release: String,
    },
    /// A backup was refused because it is damaged or invalid, or because the database is not empty.
    /// Nothing was changed.
    #[error("no import")]
    Backup(#[source] BackupError),
    /// A file with definitions of progression has faults. Nothing was changed.
    #[error("the definitions of {file} have faults:\n  {faults}")]
    Definitions {
        file: String,
        /// All faults, one per line.
        faults: String,
    },
    /// The database does not have this release's schema, and the command does not migrate it.
    #[error("{0} does not have the schema of this release: run `raidhall migrate`")]
    NotMigrated(String),
    /// An argument names something that does not exist.
    #[error("{0}")]
    Argument(String),
    /// Any other failure: a defect, or a state that an operator must look at.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl StartError {
    /// Returns the error and its causes. A cause that the text already ends with is not repeated,
    /// because some libraries show the cause of an error in the error's own text.
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let next = error.to_string();
            if !text.ends_with(&next) {
                text = format!("{text}: {next}");
            }
            cause = error.source();
        }
        text
    }

    fn unavailable(what: impl Into<String>, source: impl Into<anyhow::Error>) -> Self {
        Self::Unavailable {
            what: what.into(),
            source: source.into(),
        }
    }

    fn from_store(what: String, error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => Self::unavailable(what, error),
            StoreError::Refused { .. }
            | StoreError::NewerVersion { .. }
            | StoreError::NewerDefinitions { .. } => {
                Self::Internal(anyhow::Error::new(error).context(what))
            }
        }
    }
}

/// Runs the server until a signal stops it or its lease is lost, then shuts it down. Prints one
/// line with the URL for a browser once the server accepts connections.
///
/// # Errors
///
/// See [`StartError`].
pub async fn serve(config: Config) -> Result<(), StartError> {
    let store = open::store(&config).await?;
    let secret = open::secret(&config).await?;
    let listener = bind(config.server.listen, "server.listen").await?;
    let metrics = match config.telemetry.metrics_listen {
        Some(address) => {
            let metrics = bind(address, "telemetry.metrics_listen").await?;
            let address = metrics.local_addr().context("read the metrics' address")?;
            info!(%address, "metrics are served");
            Some(metrics)
        }
        None => None,
    };
    let bound = listener
        .local_addr()
        .context("read the address that was bound")?;
    let id = InstanceId(new_uuid());
    let parts = InstanceParts {
        id,
        bus: open::bus(&config, id)?,
        shared_limits: open::shared_limits(&config, id)?,
        has_lease_thread: !store.has_exclusive_lock(),
        base_url: config.server.base_url(bound),
        config,
        store,
        secret,
    };
    let traces = telemetry::start_trace_export(&parts.config.telemetry);
    let ended = run(parts, listener, metrics).await;
    traces.shutdown().await;
    ended
}

async fn run(
    parts: InstanceParts,
    listener: TcpListener,
    metrics: Option<TcpListener>,
) -> Result<(), StartError> {
    // From here on a signal shuts the instance down instead of killing the process at once.
    let mut stop_requested = std::pin::pin!(signals::shutdown_signal());
    let base_url = parts.base_url.clone();
    // A start may wait for another instance's lease to end.
    let instance = tokio::select! { biased;
        started = Instance::start(parts) => started?,
        () = &mut stop_requested => {
            info!("stopped before the start was complete");
            return Ok(());
        }
    };
    instance.serve(listener);
    if let Some(listener) = metrics {
        instance.serve_metrics(listener);
    }
    info!(url = base_url.as_str(), "serving");
    // Standard output may be closed; the log has the URL too.
    let _ = writeln!(
        std::io::stdout(),
        "Raidhall is open at {}",
        base_url.as_str()
    );
    tokio::select! { biased;
        () = stop_requested => {}
        () = instance.wait_until_lost() => {}
    }
    instance.shut_down().await
}

async fn bind(address: std::net::SocketAddr, key: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::unavailable(format!("{key} {address}"), error))
}

/// Applies pending migrations to the database.
///
/// # Errors
///
/// See [`StartError`].
pub async fn migrate(config: &Config) -> Result<(), StartError> {
    open::migrated_store(config).await.map(|_| ())
}

/// A request for the token that [`mint_token`] makes.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// The player that the token authenticates, if any.
    pub player: Option<u64>,
    /// The actor in the audit log for a token without a player.
    pub subject: String,
    /// The rights that the token grants.
    pub scope: Scope,
    /// How long the token is valid; by default as long as an access token from a sign-in.
    pub ttl: Option<Duration>,
}

/// Mints an access token with the configured secret. Looks up the player's name in the database; a
/// server may be running on it.
///
/// # Errors
///
/// Fails if there is no secret to sign with, if the player does not exist, or if the database is
/// unavailable. Creates neither secret nor database.
pub async fn mint_token(config: &Config, request: TokenRequest) -> Result<String, StartError> {
    let auth = Auth::new(&open::existing_secret(config)?, config.auth.clone());
    let (subject, name) = match request.player {
        Some(id) => {
            let player = PlayerId::try_from(id).context("read the player's id")?;
            let (store, _) = open::existing_store(config).await?;
            let profile = store
                .player(player)
                .await
                .map_err(|error| StartError::from_store(open::database(config), error))?;
            let missing = || StartError::Argument(format!("there is no player {player}"));
            (id.to_string(), Some(profile.ok_or_else(missing)?.name))
        }
        None => (request.subject, None),
    };
    let ttl = request.ttl.unwrap_or(config.auth.access_ttl);
    let now = machine_time()?;
    Ok(auth.mint_scoped(request.scope, &subject, name.as_deref(), ttl, now))
}

/// Returns the time by this machine's clock, for commands that have no lease.
fn machine_time() -> Result<UnixMillis, StartError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.context("read the clock")?.as_millis();
    Ok(UnixMillis(i64::try_from(now).context("read the clock")?))
}
