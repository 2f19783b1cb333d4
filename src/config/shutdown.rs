//! Section `[shutdown]`: how the process ends.

use std::time::Duration;

use serde::Deserialize;

use super::duration::millis;

/// How the process ends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShutdownConfig {
    /// Over how long clients are told to come back; less than `timeout`.
    #[serde(rename = "spread_ms", deserialize_with = "millis")]
    pub spread: Duration,
    /// Time for what is under way to finish.
    #[serde(rename = "timeout_ms", deserialize_with = "millis")]
    pub timeout: Duration,
}
