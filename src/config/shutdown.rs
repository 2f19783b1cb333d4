//! Section `[shutdown]`: the timing of a shutdown.

use std::time::Duration;

use serde::Deserialize;

use crate::option_value::millis;

/// The options of a shutdown.
#[derive(Debug, Clone, Deserialize)]
pub struct ShutdownConfig {
    /// How long an instance goes on serving after SIGTERM while it already reports that it is not
    /// ready.
    #[serde(rename = "readiness_delay_ms", deserialize_with = "millis")]
    pub readiness_delay: Duration,
    /// The period over which the closing of connections is spread. Together with `readiness_delay`
    /// it is less than `timeout`.
    #[serde(rename = "spread_ms", deserialize_with = "millis")]
    pub spread: Duration,
    /// How long the whole shutdown may take before the process ends regardless.
    #[serde(rename = "timeout_ms", deserialize_with = "millis")]
    pub timeout: Duration,
}
