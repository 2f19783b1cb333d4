//! Section `[limits]`: what one client, player or address may cost.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

use super::duration::millis;

/// What one client, player or address may cost.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest WebSocket message from a client, in bytes.
    pub message_bytes: usize,
    /// Sustained commands a second of one connection.
    pub commands_per_second: NonZeroU32,
    /// Sustained bytes a second of one connection.
    pub bytes_per_second: u32,
    /// Raids one connection may watch.
    pub watches: usize,
    /// Largest `data` of a signal, in bytes.
    pub signal_bytes: usize,
    /// Open WebSockets in all.
    pub connections: usize,
    /// Open WebSockets that have not said who they are.
    pub unauthenticated: usize,
    /// Of those, from one address.
    pub unauthenticated_per_address: usize,
    /// WebSocket upgrades a second.
    pub handshakes_per_second: NonZeroU32,
    /// Open WebSockets from one address.
    pub connections_per_address: usize,
    /// Open WebSockets of one player.
    pub connections_per_player: usize,
    /// Guest sign-ins a minute from one address.
    pub guest_signins_per_minute: NonZeroU32,
    /// Invite codes a minute that one player may try.
    pub invite_guesses_per_minute: NonZeroU32,
    /// Requests a minute by REST that read, of one player.
    pub rest_reads_per_minute: NonZeroU32,
    /// Requests a minute by REST that write, of one player.
    pub rest_writes_per_minute: NonZeroU32,
    /// Events behind up to which a return is replayed rather than given a snapshot.
    pub replay_events: usize,
    /// Messages held for a connection or watch before its backlog collapses.
    pub outbox_messages: usize,
    /// Bytes held for a connection or watch before its backlog collapses.
    pub outbox_bytes: usize,
    /// Time a new WebSocket has for `hello`.
    #[serde(rename = "hello_timeout_ms", deserialize_with = "millis")]
    pub hello_timeout: Duration,
    /// Time between beats.
    #[serde(rename = "heartbeat_ms", deserialize_with = "millis")]
    pub heartbeat: Duration,
    /// Time that writing may make no progress.
    #[serde(rename = "write_stall_ms", deserialize_with = "millis")]
    pub write_stall: Duration,
    /// Largest body of an HTTP request, in bytes.
    pub body_bytes: usize,
    /// Time for an HTTP request's head to arrive.
    #[serde(rename = "header_timeout_ms", deserialize_with = "millis")]
    pub header_timeout: Duration,
    /// Time for an HTTP request's body to arrive.
    #[serde(rename = "body_timeout_ms", deserialize_with = "millis")]
    pub body_timeout: Duration,
    /// Time for an HTTP request to be answered.
    #[serde(rename = "request_timeout_ms", deserialize_with = "millis")]
    pub request_timeout: Duration,
}
