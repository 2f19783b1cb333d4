//! WebSockets and event streams, by which clients watch raids live. Each connection is one task.
//!
//! The upgrade checks what can be refused over HTTP. The `handshake` consumes itself: until `hello` was accepted, nothing
//! else is possible. The `connection` then receives, sends and keeps time in one loop. An event stream (`sse`) watches
//! one raid and takes no requests. Both are a `subscriber`, which holds cursors into the rings of the raids that it
//! watches, and never a raid's state.

mod connection;
mod connection_registry;
mod handshake;
mod handshake_limiter;
mod inbound;
mod outbound;
mod receive_meter;
mod replay_reader;
mod requests;
mod send_queue;
mod sse;
mod subscriber;
mod upgrade;
mod watches;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{any, get};
use connection_registry::{Admission, ConnectionRegistry};
use handshake_limiter::HandshakeLimiter;
use raidhall_protocol::CloseCode;
use raidhall_protocol::limits::SOCKET_PATH;
use receive_meter::ReceiveRates;
use serde::Deserialize;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use watches::WatchLagLimit;

use crate::auth::{Auth, Identity, RevokedSessions};
use crate::clock::Clock;
use crate::error::Error;
use crate::http::OriginPolicy;
use crate::option_value::millis;
use crate::session::Registry;
use crate::store::Store;
use crate::telemetry::metrics;

/// Frames per second that carry no command: answers to beats and pings, and what a client's library adds of its own.
const CONTROL_FRAMES_PER_SECOND: u32 = 120;

/// When to come back to a server, or address, that has as many connections as it may have.
const CONNECTION_LIMIT_RETRY_DELAY: Duration = Duration::from_secs(5);

/// Limits and timing of WebSockets and event streams.
#[derive(Debug, Clone, Deserialize)]
pub struct Options {
    /// The origins whose pages may connect.
    pub allowed_origins: OriginPolicy,
    /// The largest message of a client, in bytes.
    #[serde(rename = "message_bytes")]
    pub message_bytes_max: usize,
    /// Commands, watches and signals of one connection per second; twice as many in a burst.
    pub commands_per_second: NonZeroU32,
    /// Bytes from one connection per second; twice as many in a burst.
    pub bytes_per_second: u32,
    /// Raids that one connection may watch.
    #[serde(rename = "watches")]
    pub watches_max: usize,
    /// The largest data of a signal, in bytes of JSON.
    #[serde(rename = "signal_bytes")]
    pub signal_bytes_max: usize,
    /// Open connections of this instance.
    #[serde(rename = "connections")]
    pub connections_max: usize,
    /// Open connections from one address.
    #[serde(rename = "connections_per_address")]
    pub connections_per_address_max: usize,
    /// Open connections of one player.
    #[serde(rename = "connections_per_player")]
    pub connections_per_player_max: usize,
    /// Open connections that are not authenticated.
    #[serde(rename = "unauthenticated")]
    pub unauthenticated_max: usize,
    /// Open connections from one address that are not authenticated.
    #[serde(rename = "unauthenticated_per_address")]
    pub unauthenticated_per_address_max: usize,
    /// Upgrades a second; others wait a moment, or are refused.
    pub handshakes_per_second: NonZeroU32,
    /// Unanswered requests of one connection before its socket is not read any more, and messages that a watch may be
    /// behind before it collapses into a snapshot.
    #[serde(rename = "outbox_messages")]
    pub outbox_messages_max: usize,
    /// Bytes that a watch may be behind before it collapses into a snapshot.
    #[serde(rename = "outbox_bytes")]
    pub outbox_bytes_max: u64,
    /// How long a connection may take to send `hello`.
    #[serde(rename = "hello_timeout_ms", deserialize_with = "millis")]
    pub hello_timeout: Duration,
    /// Interval between `beat` and a ping; two intervals without a byte from the client end the connection.
    #[serde(rename = "heartbeat_ms", deserialize_with = "millis")]
    pub heartbeat_interval: Duration,
    /// How long writing may make no progress.
    #[serde(rename = "write_stall_ms", deserialize_with = "millis")]
    pub write_stall_timeout: Duration,
    /// The time over which a drain spreads the closing of connections.
    #[serde(rename = "spread_ms", deserialize_with = "millis")]
    pub drain_spread: Duration,
}

impl Options {
    /// How far a watch may be behind.
    const fn watch_lag_limit(&self) -> WatchLagLimit {
        WatchLagLimit {
            messages_max: self.outbox_messages_max as u64,
            bytes_max: self.outbox_bytes_max,
        }
    }

    /// Frames of every kind, beats, pings and pongs among them, besides the commands.
    fn receive_rates(&self) -> ReceiveRates {
        let commands = self.commands_per_second.get();
        ReceiveRates::new(
            commands
                .saturating_mul(2)
                .saturating_add(CONTROL_FRAMES_PER_SECOND),
            self.bytes_per_second,
        )
    }
}

/// What every connection shares.
#[derive(Clone)]
pub struct ConnectionService(Arc<ConnectionServiceInner>);

struct ConnectionServiceInner {
    sessions: Registry,
    store: Arc<dyn Store>,
    auth: Auth,
    clock: Arc<Clock>,
    /// The name of this history of the database.
    lineage: String,
    options: Options,
    connections: ConnectionRegistry,
    handshake_limiter: HandshakeLimiter,
    tasks: TaskTracker,
}

impl ConnectionService {
    /// No connection yet; each will be a task on `tasks`.
    pub fn new(
        sessions: Registry,
        store: Arc<dyn Store>,
        auth: Auth,
        clock: Arc<Clock>,
        lineage: String,
        options: Options,
        tasks: TaskTracker,
    ) -> Self {
        let registry = ConnectionRegistry::new(&options);
        let turns = HandshakeLimiter::new(options.handshakes_per_second.get());
        Self(Arc::new(ConnectionServiceInner {
            sessions,
            store,
            auth,
            clock,
            lineage,
            options,
            connections: registry,
            handshake_limiter: turns,
            tasks,
        }))
    }

    /// The doors, to be merged into the server's routes. No layer may sit on them that buffers, times out or compresses.
    pub fn router(&self) -> Router {
        Router::new()
            .route(SOCKET_PATH, any(upgrade::upgrade))
            .route("/api/v1/raids/{id}/stream", get(sse::open_event_stream))
            .with_state(self.clone())
    }

    /// Closes the connections of whoever may not be here any more.
    pub fn close_revoked(&self, unwelcome: &RevokedSessions) {
        self.0.connections.close_revoked(unwelcome);
    }

    /// Who holds a token.
    async fn authenticate(&self, token: &str) -> Result<Identity, Error> {
        let ConnectionServiceInner {
            auth, store, clock, ..
        } = &*self.0;
        auth.authenticate(&**store, token, clock.now()).await
    }

    /// Takes a place for a connection from an address once it is its turn. [`Error::TooManyConnections`] where there are too many, or
    /// too many that begin.
    async fn admit(&self, network: IpAddr, known: bool) -> Result<Admission, Error> {
        let admission = self
            .0
            .connections
            .admit(network, known)
            .ok_or_else(connection_limit_error)?;
        let wait = self
            .0
            .handshake_limiter
            .reserve(network)
            .map_err(|exceeded| too_many_connections_error(exceeded.retry_after))?;
        if !wait.is_zero() {
            sleep(wait).await;
        }
        Ok(admission)
    }

    /// Lets every client go, spread over `drain_spread`, each with `bye` and a code that tells it to come back.
    pub fn drain(&self) {
        self.0.connections.drain();
    }
}

/// There are as many connections as there may be.
fn connection_limit_error() -> Error {
    too_many_connections_error(CONNECTION_LIMIT_RETRY_DELAY)
}

/// There are too many connections, or too many that begin.
fn too_many_connections_error(retry_after: Duration) -> Error {
    metrics().upgrades_refused.increment(1);
    Error::TooManyConnections(retry_after)
}

/// How a connection ends whose token is not accepted.
fn close_code_for(error: &Error) -> CloseCode {
    match error {
        Error::Forbidden(_) => CloseCode::Forbidden,
        // The token may be good: who could tell cannot be asked now.
        Error::Unavailable => CloseCode::Overloaded,
        _ => CloseCode::Unauthenticated,
    }
}
