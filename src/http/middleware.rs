//! The middleware around every route. A request gets an id, the client's address, a time limit and
//! a span; its response gets the common error body, the common headers, a metric and a log line.

use std::any::Any;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use super::Options;
use super::error_response::ErrorResponse;
use super::extract::BodyTimeout;
use super::header_names::X_REQUEST_ID;
use super::hosts::ServedHosts;
use super::rate_limit_headers::RateLimitHeaders;
use super::request_id::RequestId;
use crate::error::Error;
use crate::net::client_address::{ClientAddress, PeerAddress, TrustedProxies};
use crate::telemetry::{TraceSpan, metrics};

/// Wraps all routes in the middleware. The layer added last runs first, so errors of every layer
/// pass through [`process_request`], which renders them.
pub(super) fn apply_middleware(router: Router, options: &Options) -> Router {
    router
        .method_not_allowed_fallback(|| async { ErrorResponse::from(Error::MethodNotAllowed) })
        .layer(CatchPanicLayer::custom(panic_response))
        .layer(DefaultBodyLimit::max(options.body_bytes_max))
        .layer(Extension(BodyTimeout(options.body_timeout)))
        .layer(from_fn_with_state(
            options.request_timeout,
            enforce_request_timeout,
        ))
        .layer(options.allowed_origins.cors_layer())
        .layer(from_fn_with_state(
            options.hosts.clone(),
            refuse_other_hosts,
        ))
        .layer(from_fn_with_state(
            options.trusted_proxies.clone(),
            process_request,
        ))
}

/// Answers a request whose handler panicked; the panic hook has already logged the panic.
fn panic_response(_: Box<dyn Any + Send>) -> Response {
    ErrorResponse::from(Error::Internal).into_response()
}

/// Answers `unavailable` if the response to a request, the arrival of its body included, takes too
/// long to begin. What the handler had begun may still take effect, as with any `unavailable`. The
/// body of a response has no time limit here.
async fn enforce_request_timeout(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Response {
    let answered = tokio::time::timeout(limit, next.run(request)).await;
    answered.unwrap_or_else(|_| ErrorResponse::from(Error::Unavailable).into_response())
}

/// Refuses requests to other hosts than those that are served: a page whose host name resolves to
/// this address (DNS rebinding). Load balancers ask for the health of an instance by its address.
async fn refuse_other_hosts(
    State(hosts): State<ServedHosts>,
    request: Request,
    next: Next,
) -> Response {
    let is_probe = matches!(request.uri().path(), "/healthz" | "/readyz");
    if is_probe || hosts.serves(request.headers()) {
        return next.run(request).await;
    }
    ErrorResponse::malformed("The Host of this request is not in server.hosts").into_response()
}

async fn process_request(
    State(proxies): State<TrustedProxies>,
    mut request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let id = RequestId::from_headers(request.headers());
    let client = request
        .extensions()
        .get()
        .map_or(ClientAddress::UNKNOWN, |PeerAddress(peer)| {
            proxies.client_address(*peer, request.headers())
        });
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let route = path.as_ref().map(MatchedPath::as_str);
    let is_peer_trusted = request
        .extensions()
        .get()
        .is_some_and(|PeerAddress(peer)| proxies.is_trusted(peer.ip().to_canonical()));
    let trace =
        TraceSpan::start_request(&method, route, is_peer_trusted.then(|| request.headers()));
    let span = tracing::info_span!("request", request_id = %id, %method, route);
    request.extensions_mut().insert(id.clone());
    let limit_headers = RateLimitHeaders::default();
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(limit_headers.clone());

    let answer = async {
        let mut response = next.run(request).await;
        if let Some(failure) = response.extensions_mut().remove::<ErrorResponse>() {
            failure.render(id.as_str(), &mut response);
        }
        set_common_headers(response.headers_mut(), &id);
        limit_headers.write_to(response.headers_mut());
        tracing::debug!(
            status = response.status().as_u16(),
            ms = begun.elapsed().as_millis(),
            "answered"
        );
        response
    };
    let response = trace.wrap(answer.instrument(span)).await;
    trace.end_with_status(response.status());
    metrics().record_http_request(&method, route, response.status(), begun.elapsed());
    response
}

fn set_common_headers(headers: &mut HeaderMap, id: &RequestId) {
    headers.insert(X_REQUEST_ID, id.header_value());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests;
