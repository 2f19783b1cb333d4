//! Section `[shutdown]`: how the process ends.

use std::time::Duration;

use serde::Deserialize;

use crate::option_value::millis;

/// How the process ends.
#[derive(Debug, Clone, Deserialize)]
pub struct ShutdownConfig {
    /// For how long an instance that was told to stop goes on serving while it already says that it is not ready.
    #[serde(rename = "readiness_delay_ms", deserialize_with = "millis")]
    pub readiness_delay: Duration,
    /// Over how long clients are told to come back; with `readiness_delay` less than `timeout`.
    #[serde(rename = "spread_ms", deserialize_with = "millis")]
    pub spread: Duration,
    /// Time for all of it; then the process ends regardless.
    #[serde(rename = "timeout_ms", deserialize_with = "millis")]
    pub timeout: Duration,
}
