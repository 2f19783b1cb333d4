//! What an operator may choose, read once at start and checked as a whole.
//!
//! `config/default.toml` documents every key and is built in; a file, then the environment, override it (see that
//! file's head for the exact order). Reading reports *every* fault, each with its key and where its value came from,
//! so that a deployment is put right in one go. Nothing here touches the process environment or binds anything.

mod bus;
mod database;
#[cfg(test)]
mod documented;
mod effective;
mod environment;
mod fault;
mod production;
mod ranges;
mod relations;
mod server;
mod settings;
mod shutdown;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use bus::{BusConfig, BusKind, BusUrl};
pub use database::{DatabaseConfig, DatabaseKind, DatabaseUrl};
pub use effective::EffectiveConfig;
pub use environment::process_environment;
pub use fault::{ConfigError, ConfigErrors, ValueSource};
pub use server::{BaseUrl, ServerConfig, ServerProfile};
use settings::{SectionError, Settings};
pub use shutdown::ShutdownConfig;

use crate::cluster::lease;
use crate::jobs::due_scanner;
use crate::store::journal;
use crate::{auth, http, session, telemetry, webhooks, ws};

/// The options of every component, as `config/default.toml` documents them.
///
/// A component reads the keys that it needs from one or more sections of the file. Values are checked: a `Config` that
/// was loaded has no out-of-range or contradictory value in it.
#[derive(Debug, Clone)]
pub struct Config {
    /// The public listener and this instance's URL.
    pub server: ServerConfig,
    /// The database and its connections.
    pub database: DatabaseConfig,
    /// The bus between instances.
    pub bus: BusConfig,
    /// Tokens and sign-in.
    pub auth: auth::Options,
    /// Timeouts of the accept loop's connections.
    pub connections: http::server::Options,
    /// Limits of HTTP requests.
    pub http: http::Options,
    /// Limits of WebSockets and event streams.
    pub sockets: ws::Options,
    /// Limits and timing of sessions.
    pub sessions: session::Options,
    /// How appends are committed.
    pub journal: journal::Options,
    /// How long a lease lasts.
    pub lease: lease::Options,
    /// The scan for deadlines of raids without a session.
    pub due_scanner: due_scanner::Options,
    /// The end of the process.
    pub shutdown: ShutdownConfig,
    /// Logs, metrics and traces.
    pub telemetry: telemetry::Options,
    /// The endpoints that webhooks are posted to.
    pub webhooks: webhooks::Options,
}

impl Config {
    /// Reads the defaults, then `file`, then the environment, of which only the variables that `config/default.toml`
    /// names are looked at. Pure but for reading `file`.
    ///
    /// # Errors
    ///
    /// All that is wrong, at once: an unreadable file, unknown keys, wrong types, values out of range, and values
    /// that contradict each other.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        EffectiveConfig::load(file, env).map(|effective| effective.config)
    }

    /// Reads the options of every component.
    ///
    /// # Errors
    ///
    /// The first value that is not of its key's type.
    fn from_settings(settings: &Settings) -> Result<Self, SectionError> {
        Ok(Self {
            auth: settings.read(&["auth"])?,
            bus: settings.read(&["bus"])?,
            database: settings.read(&["database", "store"])?,
            journal: settings.read(&["store"])?,
            lease: settings.read(&["lease"])?,
            due_scanner: settings.read(&["lease"])?,
            sessions: settings.read(&["raid", "limits", "store", "database"])?,
            server: settings.read(&["server"])?,
            connections: settings.read(&["limits"])?,
            http: settings.read(&["limits", "server"])?,
            sockets: settings.read(&["limits", "server", "shutdown"])?,
            shutdown: settings.read(&["shutdown"])?,
            telemetry: settings.read(&["telemetry"])?,
            webhooks: settings.read(&["webhooks"])?,
        })
    }
}

/// The configuration of `config/default.toml`, with nothing overridden.
impl Default for Config {
    fn default() -> Self {
        Self::load(None, std::iter::empty()).expect("a test loads the built-in defaults")
    }
}
