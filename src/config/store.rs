//! Section `[store]`: how commits are made.

use std::time::Duration;

use serde::Deserialize;

use super::duration::millis;

/// How commits are made.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Time for which a batch that failed for a passing reason is tried again.
    #[serde(rename = "commit_patience_ms", deserialize_with = "millis")]
    pub commit_patience: Duration,
    /// Committing tasks, each with its share of the raids; fewer than `database.connections_max`.
    pub writers: usize,
    /// Most events in one commit.
    pub batch_events_max: usize,
    /// Batches that may wait for one writer.
    pub batch_queue: usize,
    /// Time one statement may run.
    #[serde(rename = "statement_timeout_ms", deserialize_with = "millis")]
    pub statement_timeout: Duration,
    /// Time to wait for a connection.
    #[serde(rename = "connect_timeout_ms", deserialize_with = "millis")]
    pub connect_timeout: Duration,
}
