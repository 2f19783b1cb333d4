//! Section `[lease]`: who owns a raid, and for how long.

use std::time::Duration;

use serde::Deserialize;

use super::duration::millis;

/// Who owns a raid, and for how long.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseConfig {
    /// How long ownership outlives its last renewal; more than twice `renew` and 500 ms.
    #[serde(rename = "ttl_ms", deserialize_with = "millis")]
    pub ttl: Duration,
    /// Time between renewals.
    #[serde(rename = "renew_ms", deserialize_with = "millis")]
    pub renew: Duration,
    /// Time between looks for deadlines of raids nobody has in memory.
    #[serde(rename = "due_scan_ms", deserialize_with = "millis")]
    pub due_scan: Duration,
    /// How far ahead such a look reaches; at least `due_scan`.
    #[serde(rename = "due_ahead_ms", deserialize_with = "millis")]
    pub due_ahead: Duration,
}
