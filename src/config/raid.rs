//! Section `[raid]`: the life of a raid in memory.

use std::time::Duration;

use serde::Deserialize;

use super::duration::millis;

/// The life of a raid in memory.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RaidConfig {
    /// Time without watchers or pending work after which a raid leaves memory.
    #[serde(rename = "idle_timeout_ms", deserialize_with = "millis")]
    pub idle_timeout: Duration,
    /// Time without a connection after which a member shows as offline.
    #[serde(rename = "presence_grace_ms", deserialize_with = "millis")]
    pub presence_grace: Duration,
    /// Time offline after which a leader is replaced; at least `presence_grace`.
    #[serde(rename = "leader_grace_ms", deserialize_with = "millis")]
    pub leader_grace: Duration,
    /// Commands that may wait for one raid.
    pub inbox: usize,
    /// Encoded events kept per watched raid.
    pub ring_events: usize,
    /// Bytes of encoded events kept per watched raid and encoding.
    pub ring_bytes: usize,
    /// Idempotency keys remembered in memory per raid.
    pub op_keys: usize,
    /// Fewest events between stored snapshots.
    pub snapshot_min_events: u64,
}
