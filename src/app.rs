//! The one place where concrete parts are wired together.

use thiserror::Error;

use crate::cli::TokenArgs;
use crate::config::Config;

/// Why the server, or a command, did not start or did not end well. Each variant has an exit code of its own: see
/// [`crate::cli::Exit`].
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
    /// Anything else: a defect, or a state that an operator must look at.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

/// Runs the server until it is told to stop and has let its raids and clients go.
///
/// # Errors
///
/// See [`StartError`].
pub async fn serve(_config: Config) -> Result<(), StartError> {
    Err(anyhow::anyhow!("the server is not wired yet").into())
}

/// Brings the database's schema up to date.
///
/// # Errors
///
/// See [`StartError`].
pub async fn migrate(_config: &Config) -> Result<(), StartError> {
    Err(anyhow::anyhow!("the store is not wired yet").into())
}

/// Mints an access token with the configured secret.
///
/// # Errors
///
/// If there is no secret to sign with.
pub async fn token(_config: &Config, _args: TokenArgs) -> anyhow::Result<String> {
    anyhow::bail!("auth is not wired yet")
}
