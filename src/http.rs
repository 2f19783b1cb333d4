//! The HTTP server: the REST API, the web app and the documents. `routes` has a file per resource;
//! handlers translate and hold no rules.
//!
//! Every request passes through `middleware`, every error response is written by `error_response`,
//! and `server` is the accept loop underneath.

mod error_response;
mod extract;
pub(crate) mod header_list;
pub(crate) mod header_names;
mod hosts;
mod middleware;
mod origins;
mod rate_limit_headers;
mod rate_limits;
mod readiness;
mod request_id;
mod routes;
pub mod server;
mod state;
mod static_files;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
pub use error_response::ErrorResponse;
pub(crate) use extract::{Query, RaidPath, parse_seq, require_bearer_token};
pub use hosts::ServedHosts;
pub use origins::OriginPolicy;
pub use rate_limits::RateLimits;
pub use readiness::{InstancePhase, Readiness};
pub use request_id::RequestId;
use serde::Deserialize;
pub use state::{AppState, ExportPermits};

use crate::net::client_address::TrustedProxies;
use crate::option_value::millis;

const API: &str = "/api/v1";

/// Limits and timeouts of HTTP requests.
#[derive(Debug, Clone, Deserialize)]
pub struct Options {
    /// The largest request body, in bytes.
    #[serde(rename = "body_bytes")]
    pub body_bytes_max: usize,
    /// How long a request's body may take to arrive.
    #[serde(rename = "body_timeout_ms", deserialize_with = "millis")]
    pub body_timeout: Duration,
    /// How long the response to a request may take to begin.
    #[serde(rename = "request_timeout_ms", deserialize_with = "millis")]
    pub request_timeout: Duration,
    /// The origins whose pages may call the API, besides the server's own.
    pub allowed_origins: OriginPolicy,
    /// The hosts under which the server may be called.
    pub hosts: ServedHosts,
    /// The proxies whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted_proxies: TrustedProxies,
    /// Guest sign-ins from one client address; ten times as many token refreshes.
    pub guest_signins_per_minute: NonZeroU32,
    /// Wrong invite codes from one player; five times as many from one client address.
    pub invite_guesses_per_minute: NonZeroU32,
    /// Exports of their own data by one player.
    pub exports_per_day: NonZeroU32,
    /// Read requests (GET, HEAD) of one player; ten times as many from one client address.
    pub rest_reads_per_minute: NonZeroU32,
    /// Other requests of one player; ten times as many from one client address.
    pub rest_writes_per_minute: NonZeroU32,
}

/// Builds the router of everything that an instance serves over HTTP. The routes in `ws_routes` are
/// merged in and get the same middleware: their requests carry [`RequestId`] and
/// [`ClientAddress`](crate::net::client_address::ClientAddress), and they may answer with an
/// [`ErrorResponse`].
pub fn build_router(state: AppState, options: &Options, ws_routes: Router) -> Router {
    let readiness = state.readiness.clone();
    let web_app = routes::web_app::routes(&state.ws_url);
    let router = Router::new()
        .merge(routes::accounts::routes())
        .merge(routes::admin::routes())
        .merge(routes::erasure::routes())
        .merge(routes::export::routes())
        .merge(routes::host_app::routes())
        .merge(routes::identities::routes())
        .merge(routes::player_streams::routes())
        .merge(routes::profiles::routes())
        .merge(routes::boards::routes())
        .merge(routes::raids::routes())
        .merge(routes::webhooks::routes())
        .with_state(Arc::new(state))
        .merge(web_app)
        .merge(routes::documents::routes())
        .merge(routes::health::routes(readiness))
        .merge(ws_routes);
    middleware::apply_middleware(router, options)
}
