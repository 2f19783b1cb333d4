//! The accept loop: HTTP/1.1 with upgrades, one task per connection.
//!
//! It uses hyper's own HTTP/1 connection. `axum::serve` sets no limit on how long a request's head
//! may take, and hyper-util's `auto` waits without limit for the first bytes of a connection to
//! distinguish HTTP/1 from HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt;
use hyper::Request;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::Instrument;

use crate::net::client_address::PeerAddress;
use crate::net::listener::{
    ClientStream, ConnectionPermit, ConnectionPermits, Exchange, Listener, Pace, PacedStream,
    PerAddressLimit,
};
use crate::option_value::millis;
use crate::task_group::TaskGroup;
use crate::telemetry::{AcceptPauseCause, metrics};

/// The pause after a failed accept, which usually means that file descriptors ran out.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(200);
/// The largest read buffer of a connection, and the largest write buffer for a client that reads
/// slowly.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// The largest head of a request; a larger one is answered with 431, as are more than 100 headers
/// (hyper's limit).
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The response to a connection beyond the limit of its address, sent before any request.
const TOO_MANY_CONNECTIONS_RESPONSE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The timeouts of an HTTP connection.
#[derive(Debug, Clone, Deserialize)]
pub struct Options {
    /// How long a request's head may take to arrive, from its first byte or from the start of the
    /// connection.
    #[serde(rename = "header_timeout_ms", deserialize_with = "millis")]
    pub header_timeout: Duration,
    /// How long a connection is kept after a response until the next request has arrived.
    #[serde(rename = "keep_alive_ms", deserialize_with = "millis")]
    pub keep_alive: Duration,
    /// How long a client may take nothing, or less than 1 KiB a second, of its response.
    #[serde(rename = "write_stall_ms", deserialize_with = "millis")]
    pub write_stall_timeout: Duration,
}

/// The limits on connections that a listener accepts.
#[derive(Debug, Clone)]
pub struct AcceptLimits {
    /// The permits for all connections of the listener.
    pub connection_permits: ConnectionPermits,
    /// The limit on connections that one address may hold.
    pub per_address_limit: PerAddressLimit,
}

/// Serves connections until `drain` is cancelled, then completes the requests that are under way.
/// Returns when the last of them is answered. Dropping the future earlier stops the accepting of
/// connections, not the requests. Upgraded connections belong to the task that took them over and
/// are not waited for.
pub async fn serve<L: Listener>(
    mut listener: L,
    router: Router,
    options: Options,
    accept_limits: AcceptLimits,
    drain: CancellationToken,
) {
    let connections = TaskGroup::default();
    while let Some((stream, permit, peer)) = drain
        .run_until_cancelled(accept_connection(
            &mut listener,
            &accept_limits.connection_permits,
        ))
        .await
    {
        let Some(permit) = accept_limits.per_address_limit.admit(permit, peer) else {
            refuse_connection(stream);
            continue;
        };
        let pace = Pace {
            stall_timeout: options.write_stall_timeout,
            head_timeout: options.header_timeout,
        };
        let stream = PacedStream::new(stream, Some(permit), pace);
        let connection = serve_connection(
            stream,
            peer,
            router.clone(),
            options.keep_alive.max(options.header_timeout),
            drain.clone(),
        );
        connections.spawn(connection.instrument(tracing::debug_span!("connection", %peer)));
    }
    drop(listener);
    connections.close_and_wait().await;
}

/// Closes a connection whose address has too many. Sends 503 first, if the socket accepts that at
/// once.
fn refuse_connection(mut stream: ClientStream) {
    metrics().connections_refused.increment(1);
    let _ = stream
        .write_all(TOO_MANY_CONNECTIONS_RESPONSE)
        .now_or_never();
}

/// Waits for a permit, then for the next connection. Retries failed accepts; of a series of
/// failures, only the first one is logged.
async fn accept_connection<L: Listener>(
    listener: &mut L,
    permits: &ConnectionPermits,
) -> (ClientStream, ConnectionPermit, SocketAddr) {
    let permit = permits.acquire().await;
    let mut failed = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if failed {
                    tracing::info!("connections are accepted again");
                }
                return (stream, permit, peer);
            }
            Err(error) if is_aborted_connection(&error) => {
                tracing::debug!(%error, "a connection was closed before it was accepted")
            }
            Err(error) => {
                metrics()
                    .accept_rests
                    .increment(AcceptPauseCause::AcceptFailed);
                if !failed {
                    tracing::warn!(%error, "accepting connections failed; retrying");
                }
                failed = true;
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

/// Whether an accept failed because of that one connection, so that the next may be accepted
/// without a pause.
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
    keep_alive: Duration,
    drain: CancellationToken,
) {
    let exchange = stream.exchange();
    let service = service_fn(move |request: Request<Incoming>| {
        exchange.end_head();
        let body = |body| Body::new(RequestBody::new(body, exchange.clone()));
        let mut request = request.map(body);
        request.extensions_mut().insert(PeerAddress(peer));
        let response = router.clone().oneshot(request);
        let exchange = exchange.clone();
        async move {
            response
                .await
                .map(|response| track_response(response, exchange))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        // Hyper counts the time between two requests as part of the later one's head; `PacedStream`
        // limits the time of a head from its first byte.
        .header_read_timeout(keep_alive)
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

/// Has the connection learn when the response is ready as a whole. A client that has ended its
/// sending still gets a response that ends, but no event stream, which would not.
fn track_response(response: Response, exchange: Exchange) -> hyper::Response<ResponseBody> {
    let content_type = response.headers().get(CONTENT_TYPE);
    if content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
        exchange.begin_response();
    }
    response.map(|body| ResponseBody { body, exchange })
}

/// The body of a response, which tells the connection when it is used up.
struct ResponseBody {
    body: Body,
    exchange: Exchange,
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.exchange.begin_response();
    }
}

/// The body of a request, which tells the connection when it has arrived.
struct RequestBody {
    body: Incoming,
    exchange: Exchange,
}

impl RequestBody {
    fn new(body: Incoming, exchange: Exchange) -> RequestBody {
        if body.is_end_stream() {
            exchange.end_request();
        }
        RequestBody { body, exchange }
    }
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.exchange.end_request();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
