//! The REST API: `routes` has a file per resource. Handlers translate; they hold no rules.
//!
//! Every request passes through `middleware`, every error leaves through `error_response`, and `server` is the accept loop
//! underneath.

mod error_response;
mod extract;
pub(crate) mod header_list;
pub(crate) mod header_names;
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
    /// The largest body of a request, in bytes.
    #[serde(rename = "body_bytes")]
    pub body_bytes_max: usize,
    /// How long a request's body may take to arrive.
    #[serde(rename = "body_timeout_ms", deserialize_with = "millis")]
    pub body_timeout: Duration,
    /// How long a request may take to be answered.
    #[serde(rename = "request_timeout_ms", deserialize_with = "millis")]
    pub request_timeout: Duration,
    /// The origins whose pages may call.
    pub allowed_origins: OriginPolicy,
    /// The proxies whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted_proxies: TrustedProxies,
    /// Guest sign-ins of one client address.
    pub guest_signins_per_minute: NonZeroU32,
    /// Wrong invite codes of one player; a few times as many of one client address.
    pub invite_guesses_per_minute: NonZeroU32,
    /// Commands of one player, by REST.
    pub commands_per_second: NonZeroU32,
    /// Requests of one player that read; ten times as many of one client address.
    pub rest_reads_per_minute: NonZeroU32,
    /// Requests of one player that write; ten times as many of one client address.
    pub rest_writes_per_minute: NonZeroU32,
}

/// Builds the router of all that an instance serves over HTTP. `socket` is merged in, so that the socket's upgrade passes
/// through the same middleware: its requests carry [`RequestId`] and
/// [`ClientAddress`](crate::net::client_address::ClientAddress), and it may answer with an [`ErrorResponse`].
pub fn build_router(state: AppState, options: &Options, socket: Router) -> Router {
    let readiness = state.readiness.clone();
    let web_app = routes::web_app::routes(&state.ws_url);
    let router = Router::new()
        .merge(routes::accounts::routes())
        .merge(routes::admin::routes())
        .merge(routes::erasure::routes())
        .merge(routes::export::routes())
        .merge(routes::host_app::routes())
        .merge(routes::identities::routes())
        .merge(routes::raids::routes())
        .merge(routes::webhooks::routes())
        .with_state(Arc::new(state))
        .merge(web_app)
        .merge(routes::documents::routes())
        .merge(routes::health::routes(readiness))
        .merge(socket);
    middleware::apply_middleware(router, options)
}
