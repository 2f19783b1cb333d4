//! The accept loop: HTTP/1.1 with upgrades, one task per connection.
//!
//! hyper's own connection is used, neither `axum::serve`, which puts no limit on how long a request's head may take,
//! nor hyper-util's `auto`, which waits without limit for a connection's first bytes to tell HTTP/1 from HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::FutureExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::Instrument;

use crate::net::client_address::PeerAddress;
use crate::net::listener::{
    ClientStream, ConnectionPermit, ConnectionPermits, Listener, PacedStream, PerAddressLimit,
};
use crate::option_value::millis;
use crate::telemetry::{AcceptPauseCause, metrics};

/// How long accepting rests after it failed (usually for want of file descriptors).
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(200);
/// The most that is held of a body, and of an answer that the client is slow to take.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// The largest head of a request; a larger one is answered 431, as are more than hyper's hundred headers.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The answer to a connection too many, before it has asked for anything.
const TOO_MANY_CONNECTIONS_RESPONSE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Timeouts of a connection.
#[derive(Debug, Clone, Deserialize)]
pub struct Options {
    /// How long a request's head may take to arrive, counted from the connection's start or the answer before: also
    /// how long an idle connection is kept.
    #[serde(rename = "header_timeout_ms", deserialize_with = "millis")]
    pub header_timeout: Duration,
    /// How long a client may take nothing, or next to nothing, of its answer.
    #[serde(rename = "write_stall_ms", deserialize_with = "millis")]
    pub write_stall_timeout: Duration,
}

/// How many connections a listener accepts.
#[derive(Debug, Clone)]
pub struct AcceptLimits {
    /// Permits for all connections.
    pub connection_permits: ConnectionPermits,
    /// How many of them one address may hold.
    pub per_address_limit: PerAddressLimit,
}

/// Serves every connection until `drain` is cancelled, and then those requests that are under way. Ends when the last
/// of them is answered: who can't wait for that drops the future, which stops nothing that was begun. Upgraded
/// connections belong to whoever took them over and are not waited for.
pub async fn serve<L: Listener>(
    mut listener: L,
    router: Router,
    options: Options,
    accept_limits: AcceptLimits,
    drain: CancellationToken,
) {
    let connections = TaskTracker::new();
    while let Some((stream, seat, peer)) = drain
        .run_until_cancelled(accept_connection(
            &mut listener,
            &accept_limits.connection_permits,
        ))
        .await
    {
        let Some(seat) = accept_limits.per_address_limit.admit(seat, peer) else {
            refuse_connection(stream);
            continue;
        };
        let stream = PacedStream::new(stream, Some(seat), options.write_stall_timeout);
        let connection = serve_connection(
            stream,
            peer,
            router.clone(),
            options.header_timeout,
            drain.clone(),
        );
        connections.spawn(connection.instrument(tracing::debug_span!("connection", %peer)));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// An address that has as many connections as it may is told so, if it takes that at once, and hung up on.
fn refuse_connection(mut stream: ClientStream) {
    metrics().connections_refused.increment(1);
    let _ = stream
        .write_all(TOO_MANY_CONNECTIONS_RESPONSE)
        .now_or_never();
}

/// The next connection. A failure is told once, until there is a connection again.
async fn accept_connection<L: Listener>(
    listener: &mut L,
    seats: &ConnectionPermits,
) -> (ClientStream, ConnectionPermit, SocketAddr) {
    let seat = seats.acquire().await;
    let mut failed = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if failed {
                    tracing::info!("connections are accepted again");
                }
                return (stream, seat, peer);
            }
            Err(error) if is_aborted_connection(&error) => {
                tracing::debug!(%error, "a connection was gone before it was accepted")
            }
            Err(error) => {
                metrics()
                    .accept_rests
                    .increment(AcceptPauseCause::AcceptFailed);
                if !failed {
                    tracing::warn!(%error, "accepting connections failed; trying again");
                }
                failed = true;
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

/// Whether this is one connection's misfortune and says nothing about the next.
fn is_aborted_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn serve_connection(
    stream: PacedStream,
    peer: SocketAddr,
    router: Router,
    header_timeout: Duration,
    drain: CancellationToken,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(PeerAddress(peer));
        router.clone().oneshot(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut served = std::pin::pin!(served);
    let ended = match drain.run_until_cancelled(served.as_mut()).await {
        Some(ended) => ended,
        None => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection failed");
    }
}

#[cfg(test)]
mod tests;
