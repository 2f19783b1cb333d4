//! The configuration, read once at start and checked as a whole.
//!
//! `config/default.toml` documents every key and is built in. A file, then the environment,
//! override it; the head of `config/default.toml` states the exact order. Loading reports **every**
//! fault, each with its key and the source of its value, so that an operator can correct a
//! deployment at once. Nothing here binds an address, and only [`process_environment`] reads the
//! process environment.

mod bus;
mod database;
#[cfg(test)]
mod documented;
mod effective;
mod environment;
mod fault;
mod production;
mod progression;
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
pub use progression::ProgressionConfig;
pub use server::{BaseUrl, ServerConfig, ServerProfile};
use settings::{SectionError, Settings};
pub use shutdown::ShutdownConfig;

use crate::cluster::lease;
use crate::jobs::{due_scanner, maintenance, space_monitor};
use crate::store::journal;
use crate::{auth, http, session, telemetry, webhooks, ws};

/// The options of every component, as `config/default.toml` documents them.
///
/// A component reads the keys that it needs from one or more sections of the file. Values are
/// checked: a `Config` that was loaded has no out-of-range or contradictory value in it.
#[derive(Debug, Clone)]
pub struct Config {
    /// The public listener and this instance's URL.
    pub server: ServerConfig,
    /// The database and the limits of its connections.
    pub database: DatabaseConfig,
    /// The bus between instances.
    pub bus: BusConfig,
    /// Secrets, tokens and ways to sign in.
    pub auth: auth::Options,
    /// Timeouts of HTTP connections.
    pub connections: http::server::Options,
    /// Limits of HTTP requests.
    pub http: http::Options,
    /// Limits of WebSockets and event streams.
    pub sockets: ws::Options,
    /// Limits and timing of sessions.
    pub sessions: session::Options,
    /// The writers and batches that commit appends.
    pub journal: journal::Options,
    /// The duration of a lease and the interval of its renewal.
    pub lease: lease::Options,
    /// The scan for deadlines of raids without a session.
    pub due_scanner: due_scanner::Options,
    /// When the space of the database counts as low.
    pub space: space_monitor::Options,
    /// How long unused data is kept.
    pub retention: maintenance::Options,
    /// The source of the definitions of progression.
    pub progression: ProgressionConfig,
    /// The timing of a shutdown.
    pub shutdown: ShutdownConfig,
    /// Options of logs, metrics and traces.
    pub telemetry: telemetry::Options,
    /// The endpoints that receive webhooks.
    pub webhooks: webhooks::Options,
}

impl Config {
    /// Reads the defaults, then `file`, then the environment, in which only the variables that
    /// `config/default.toml` describes matter. Has no side effects besides reading `file`, the
    /// secret files that variables name and the file with the definitions of progression.
    ///
    /// # Errors
    ///
    /// Returns all faults at once: an unreadable file, unknown keys, wrong types, values out of
    /// range, and values that contradict each other.
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
    /// Fails at the first value that does not have the type of its key.
    fn from_settings(settings: &Settings) -> Result<Self, SectionError> {
        Ok(Self {
            auth: settings.read(&["auth"])?,
            bus: settings.read(&["bus"])?,
            database: settings.read(&["database", "store"])?,
            journal: settings.read(&["store"])?,
            lease: settings.read(&["lease"])?,
            due_scanner: settings.read(&["lease"])?,
            space: settings.read(&["limits"])?,
            sessions: settings.read(&["raid", "limits", "store", "database"])?,
            server: settings.read(&["server"])?,
            connections: settings.read(&["limits"])?,
            http: settings.read(&["limits", "server"])?,
            sockets: settings.read(&["limits", "server", "shutdown"])?,
            retention: settings.read(&["retention"])?,
            progression: settings.read(&["progression"])?,
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
