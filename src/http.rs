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

use std::time::Duration;

use axum::Router;
pub use error_response::ErrorResponse;
pub(crate) use extract::{Query, RaidPath, parse_seq, require_bearer_token};
pub use origins::OriginPolicy;
pub use readiness::{InstancePhase, Readiness};
pub use request_id::RequestId;
use state::ApiState;
pub use state::AppState;

use crate::cluster::bus::redis::SharedLimits;
use crate::net::client_address::TrustedProxies;

const API: &str = "/api/v1";

/// Settings of the REST API and of the middleware around all routes.
#[derive(Clone)]
pub struct Options {
    /// The WebSocket URL of this instance.
    pub ws_url: String,
    /// The size of the largest request body.
    pub body_bytes_max: usize,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// How long a request may take to be answered.
    pub request_timeout: Duration,
    /// The origins whose pages may call.
    pub allowed_origins: OriginPolicy,
    /// The proxies whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted_proxies: TrustedProxies,
    /// Guests that may sign in from one client address.
    pub guest_signins_per_minute: u32,
    /// Wrong invite codes of one player; a few times as many of one client address.
    pub invite_guesses_per_minute: u32,
    /// Commands of one player by REST.
    pub commands_per_second: u32,
    /// Reads of one player; ten times as many of one client address.
    pub rest_reads_per_minute: u32,
    /// Writes of one player; ten times as many of one client address.
    pub rest_writes_per_minute: u32,
    /// The limits that all instances charge together, if there is a Redis.
    pub shared_limits: Option<SharedLimits>,
}

/// Builds the router of all that an instance serves over HTTP. `socket` is merged in, so that the socket's upgrade passes
/// through the same middleware: its requests carry [`RequestId`] and
/// [`ClientAddress`](crate::net::client_address::ClientAddress), and it may answer with an [`ErrorResponse`].
pub fn build_router(app: AppState, options: &Options, socket: Router) -> Router {
    let readiness = app.readiness.clone();
    let api = Router::new()
        .merge(routes::accounts::routes())
        .merge(routes::admin::routes())
        .merge(routes::erasure::routes())
        .merge(routes::export::routes())
        .merge(routes::host_app::routes())
        .merge(routes::identities::routes())
        .merge(routes::raids::routes())
        .merge(routes::webhooks::routes())
        .with_state(ApiState::new(app, options));
    let router = api
        .merge(routes::web_app::routes(&options.ws_url))
        .merge(routes::documents::routes())
        .merge(routes::health::routes(readiness))
        .merge(socket);
    middleware::apply_middleware(router, options)
}
