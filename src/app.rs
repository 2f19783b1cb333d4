//! The one place where concrete parts are wired together.
//!
//! [`serve`] is what `main` calls: it opens what the configuration names. [`Instance::start`] wires the components over
//! any store and any bus; tests call it too.

mod backup;
mod instance;
mod lease;
mod open;
mod shutdown;
mod signals;
mod tasks;

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
pub use backup::{export, import, new_lineage};
pub use instance::{Instance, InstanceParts};
use raidhall_protocol::{PlayerId, UnixMillis};
use thiserror::Error;
use tokio::net::TcpListener;
use tracing::info;
use uuid::Uuid;

use crate::auth::{Auth, Scope};
use crate::backup::BackupError;
use crate::config::Config;
use crate::store::{InstanceId, StoreError};
use crate::telemetry;

/// Why the server, or a command, did not start or did not end well. Each variant has an exit code of its own.
#[derive(Debug, Error)]
pub enum StartError {
    /// Something it needs from outside cannot be had: the database cannot be reached, the address cannot be bound.
    /// Trying again later may help.
    #[error("{what} is unavailable")]
    Unavailable {
        /// What could not be had, as a person would name it; never a password.
        what: String,
        /// Why.
        source: anyhow::Error,
    },
    /// Another instance holds the database and did not let go in time. Trying again later may help.
    #[error("another instance holds {0}")]
    AlreadyRunning(String),
    /// A backup cannot be taken as it is, or not here. Nothing was changed.
    #[error("no import")]
    Backup(#[source] BackupError),
    /// Anything else: a defect, or a state that an operator must look at.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl StartError {
    fn unavailable(what: impl Into<String>, source: impl Into<anyhow::Error>) -> Self {
        Self::Unavailable {
            what: what.into(),
            source: source.into(),
        }
    }

    fn from_store(what: String, error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } => Self::unavailable(what, error),
            StoreError::Refused { .. } | StoreError::NewerVersion { .. } => {
                Self::Internal(anyhow::Error::new(error).context(what))
            }
        }
    }
}

/// Runs the server until it is told to stop and has let its raids and clients go. Once it serves, it prints one line
/// with the URL that a person opens.
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
    let id = InstanceId(Uuid::now_v7());
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
    // From here on a signal ends the instance in order, and no longer the process at once.
    let stop_requested = signals::shutdown_signal();
    let base_url = parts.base_url.clone();
    let instance = Instance::start(parts).await?;
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
    tokio::select! {
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

/// Brings the database's schema up to date.
///
/// # Errors
///
/// See [`StartError`].
pub async fn migrate(config: &Config) -> Result<(), StartError> {
    open::migrated_store(config).await.map(|_| ())
}

/// The token that [`mint_token`] makes.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// The player that the token speaks for.
    pub player: Option<u64>,
    /// The name in the audit log of a token that speaks for no player.
    pub subject: String,
    /// What the token allows.
    pub scope: Scope,
    /// How long the token is valid; by default as long as a token of a sign-in.
    pub ttl: Option<Duration>,
}

/// Mints an access token with the configured secret. A player's name is looked up in the database, which a server may be
/// using.
///
/// # Errors
///
/// If there is no secret to sign with, or no such player.
pub async fn mint_token(config: &Config, request: TokenRequest) -> anyhow::Result<String> {
    let auth = Auth::new(&open::secret(config).await?, config.auth.clone());
    let (subject, name) = match request.player {
        Some(id) => {
            let player = PlayerId::try_from(id)?;
            let profile = open::unmigrated_store(config).await?.player(player).await?;
            (
                id.to_string(),
                Some(
                    profile
                        .with_context(|| format!("there is no player {player}"))?
                        .name,
                ),
            )
        }
        None => (request.subject, None),
    };
    let ttl = request.ttl.unwrap_or(config.auth.access_ttl);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now = UnixMillis(i64::try_from(now.as_millis())?);
    Ok(auth.mint_scoped(request.scope, &subject, name.as_deref(), ttl, now))
}
