//! What an operator may choose, read once at start and checked as a whole.
//!
//! `config/default.toml` documents every key and is built in; a file, then the environment, override it (see that
//! file's head for the exact order). Reading reports *every* fault, each with its key and where its value came from,
//! so that a deployment is put right in one go. Nothing here touches the process environment or binds anything.

mod auth;
mod bus;
mod database;
#[cfg(test)]
mod documented;
mod duration;
mod effective;
mod environment;
mod fault;
mod issuers;
mod lease;
mod limits;
mod production;
mod raid;
mod ranges;
mod relations;
mod server;
mod settings;
mod shutdown;
mod store;
mod telemetry;
#[cfg(test)]
mod tests;
mod webhooks;

use std::path::Path;

pub use auth::{AuthConfig, Secret};
pub use bus::{BusConfig, BusKind, BusUrl};
pub use database::{DatabaseConfig, DatabaseKind, DatabaseUrl};
pub use effective::EffectiveConfig;
pub use environment::process_environment;
pub use fault::{ConfigError, ConfigErrors, ValueSource};
pub use issuers::IssuerConfig;
pub use lease::LeaseConfig;
pub use limits::LimitsConfig;
pub use raid::RaidConfig;
use serde::Deserialize;
pub use server::{AllowedOrigins, BaseUrl, ServerConfig, ServerProfile};
pub use shutdown::ShutdownConfig;
pub use store::StoreConfig;
pub use telemetry::{LogFormat, TelemetryConfig};
pub use webhooks::WebhooksConfig;

/// Every choice an operator has, one struct per section of `config/default.toml`.
///
/// Values are checked: a `Config` that was loaded has no out-of-range or contradictory value in it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The public listener and who may talk to it.
    pub server: ServerConfig,
    /// The durable truth.
    pub database: DatabaseConfig,
    /// What carries events between instances.
    pub bus: BusConfig,
    /// Tokens and sign-in.
    pub auth: AuthConfig,
    /// What one client, player or address may cost.
    pub limits: LimitsConfig,
    /// The life of a raid in memory.
    pub raid: RaidConfig,
    /// How commits are made.
    pub store: StoreConfig,
    /// Who owns a raid, and for how long.
    pub lease: LeaseConfig,
    /// How the process ends.
    pub shutdown: ShutdownConfig,
    /// Logs and metrics.
    pub telemetry: TelemetryConfig,
    /// Who is told of what has happened.
    pub webhooks: WebhooksConfig,
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
}

/// The configuration of `config/default.toml`, with nothing overridden.
impl Default for Config {
    fn default() -> Self {
        Self::load(None, std::iter::empty()).expect("a test loads the built-in defaults")
    }
}
