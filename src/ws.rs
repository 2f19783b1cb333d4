//! WebSockets and event streams, over which clients watch raids live. Each connection is one task.
//!
//! The `upgrade` refuses over HTTP what can be refused before the protocol switches. The
//! `handshake` only waits for `hello`; accepting it consumes the handshake and makes a
//! `connection`, which receives, sends and keeps time in one loop. An event stream (`sse`) watches
//! one raid and takes no requests. Both contain a `subscriber`, which holds cursors into the rings
//! of the raids that it watches, and never a raid's state.

mod connection;
mod connection_registry;
mod handshake;
mod handshake_limiter;
mod inbound;
mod message_meter;
mod outbound;
mod player_requests;
mod player_watch;
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
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{any, get};
use connection_registry::{Admission, ConnectionRegistry};
use handshake_limiter::HandshakeLimiter;
use raidhall_protocol::limits::SOCKET_PATH;
use raidhall_protocol::{CloseCode, PlayerId, RaidId};
use receive_meter::ReceiveRates;
use serde::Deserialize;
use tokio::time::sleep;
use watches::WatchLagLimit;

use crate::auth::{Auth, Identity, RevokedSessions};
use crate::clock::Clock;
use crate::error::Error;
use crate::http::OriginPolicy;
use crate::limits::command_limiter::CommandLimiter;
use crate::limits::rate::Rate;
use crate::limits::rate_limiter::RateLimiter;
use crate::option_value::millis;
use crate::session::Registry;
use crate::store::Store;
use crate::streams::Streams;
use crate::task_group::TaskGroup;
use crate::telemetry::metrics;

/// Frames per second allowed beyond those for commands: heartbeats, pongs, and frames that a
/// client's library adds.
const CONTROL_FRAMES_PER_SECOND: u32 = 120;

/// The period whose allowance of signals a player may use in one burst.
const BURST_SECS: u32 = 2;

/// The retry delay in the refusal of a connection for which the instance, the address or the player
/// has no permit left.
const CONNECTION_LIMIT_RETRY_DELAY: Duration = Duration::from_secs(5);

/// Limits and timing of WebSockets and event streams.
#[derive(Debug, Clone, Deserialize)]
pub struct Options {
    /// The origins whose pages may open a connection.
    pub allowed_origins: OriginPolicy,
    /// The largest message accepted from a client, in bytes.
    #[serde(rename = "message_bytes")]
    pub message_bytes_max: usize,
    /// Messages per second of one connection, not counting `beat`, and commands per second of one
    /// player; twice as many in a burst.
    pub commands_per_second: NonZeroU32,
    /// Bytes per second received on one connection; twice as many in a burst.
    pub bytes_per_second: u32,
    /// Raids that one connection may watch at the same time.
    #[serde(rename = "watches")]
    pub watches_max: usize,
    /// The largest data of a signal, in bytes of JSON.
    #[serde(rename = "signal_bytes")]
    pub signal_bytes_max: usize,
    /// Bytes of signals per second of one player to one raid, over all connections to this
    /// instance; twice as many in a burst.
    pub signal_bytes_per_second: u32,
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
    /// Upgrades per second; faster ones wait up to a second, and beyond that are refused.
    pub handshakes_per_second: NonZeroU32,
    /// Unanswered requests of one connection before its socket is not read any more, and messages
    /// that a watch may be behind before it collapses into a snapshot.
    #[serde(rename = "outbox_messages")]
    pub outbox_messages_max: usize,
    /// Bytes that a watch may be behind before it collapses into a snapshot.
    #[serde(rename = "outbox_bytes")]
    pub outbox_bytes_max: u64,
    /// How long a new connection may take to send `hello`.
    #[serde(rename = "hello_timeout_ms", deserialize_with = "millis")]
    pub hello_timeout: Duration,
    /// Interval between `beat` and a ping; two intervals without a byte from the client end the
    /// connection.
    #[serde(rename = "heartbeat_ms", deserialize_with = "millis")]
    pub heartbeat_interval: Duration,
    /// How long writing to a client may make no progress before the connection is closed.
    #[serde(rename = "write_stall_ms", deserialize_with = "millis")]
    pub write_stall_timeout: Duration,
    /// The time over which a drain spreads the closing of connections.
    #[serde(rename = "spread_ms", deserialize_with = "millis")]
    pub drain_spread: Duration,
}

impl Options {
    const fn watch_lag_limit(&self) -> WatchLagLimit {
        WatchLagLimit {
            messages_max: self.outbox_messages_max as u64,
            bytes_max: self.outbox_bytes_max,
        }
    }

    /// Returns the limit on the bytes of a player's signals to a raid.
    fn signal_rate(&self) -> Rate {
        Rate::new(
            self.signal_bytes_per_second.saturating_mul(BURST_SECS),
            Duration::from_secs(BURST_SECS.into()),
        )
    }

    /// Returns the limits on frames of any kind, control frames included, and on bytes.
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

/// What connections depend on.
pub struct ConnectionDependencies {
    /// The live raids of this instance.
    pub sessions: Registry,
    /// The players' streams of events.
    pub streams: Streams,
    /// The store of players, for tokens and the audit log.
    pub store: Arc<dyn Store>,
    /// The component that checks tokens.
    pub auth: Auth,
    /// The clock that follows the database's time.
    pub clock: Arc<Clock>,
    /// The id of the database's history, for `welcome`.
    pub lineage: String,
    /// The limit on the commands of a player.
    pub commands: Arc<CommandLimiter>,
}

/// The service that accepts connections and holds what they share. Cheap to clone.
#[derive(Clone)]
pub struct ConnectionService(Arc<ConnectionServiceInner>);

struct ConnectionServiceInner {
    dependencies: ConnectionDependencies,
    options: Options,
    connections: ConnectionRegistry,
    handshake_limiter: HandshakeLimiter,
    signal_limiter: RateLimiter<(PlayerId, RaidId)>,
    tasks: TaskGroup,
}

impl Deref for ConnectionService {
    type Target = ConnectionDependencies;

    fn deref(&self) -> &ConnectionDependencies {
        &self.0.dependencies
    }
}

impl ConnectionService {
    /// Creates the service, without any connection yet. It spawns each connection's task on
    /// `tasks`.
    pub fn new(dependencies: ConnectionDependencies, options: Options, tasks: TaskGroup) -> Self {
        let connections = ConnectionRegistry::new(&options);
        let signal_limiter = RateLimiter::from_rate(options.signal_rate());
        let handshake_limiter = HandshakeLimiter::new(options.handshakes_per_second.get());
        Self(Arc::new(ConnectionServiceInner {
            dependencies,
            options,
            connections,
            handshake_limiter,
            signal_limiter,
            tasks,
        }))
    }

    /// Returns the routes of the WebSocket and the event stream, to be merged into the server's
    /// router. They must not be wrapped in a layer that buffers or compresses response bodies or
    /// limits how long they take.
    pub fn router(&self) -> Router {
        Router::new()
            .route(SOCKET_PATH, any(upgrade::upgrade))
            .route("/api/v1/raids/{id}/stream", get(sse::open_raid_stream))
            .route("/api/v1/me/stream", get(sse::open_player_stream))
            .with_state(self.clone())
    }

    /// Closes the connections whose player was banned or whose sign-in was revoked.
    pub fn close_revoked(&self, revoked: &RevokedSessions) {
        self.0.connections.close_revoked(revoked);
    }

    /// Verifies a token and returns the identity that it proves.
    async fn authenticate(&self, token: &str) -> Result<Identity, Error> {
        let ConnectionDependencies {
            auth, store, clock, ..
        } = &**self;
        auth.authenticate(&**store, token, clock.now()).await
    }

    /// Acquires the permits for a new connection from an address, then waits for its turn at the
    /// handshake limiter. `known` says that the client is authenticated already. Fails with
    /// [`Error::TooManyConnections`] if a permit is missing or the wait would be too long.
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

    /// Begins to close every connection, spread over `drain_spread`, each with `bye` and a code
    /// that makes the client reconnect.
    pub fn drain(&self) {
        self.0.connections.drain();
    }
}

/// The refusal of a connection for which there is no permit.
fn connection_limit_error() -> Error {
    too_many_connections_error(CONNECTION_LIMIT_RETRY_DELAY)
}

/// The refusal of a connection with the time after which to try again; counts it in the metrics.
fn too_many_connections_error(retry_after: Duration) -> Error {
    metrics().upgrades_refused.increment(1);
    Error::TooManyConnections(retry_after)
}

/// Returns the code that closes a connection whose token is not accepted.
fn close_code_for(error: &Error) -> CloseCode {
    match error {
        Error::Forbidden(_) => CloseCode::Forbidden,
        // The token may be valid; the store that could confirm it is unavailable.
        Error::Unavailable => CloseCode::Overloaded,
        _ => CloseCode::Unauthenticated,
    }
}
