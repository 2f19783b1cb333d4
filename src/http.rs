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
mod static_files;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
pub use error_response::ErrorResponse;
pub(crate) use extract::{Query, RaidPath, parse_seq};
pub use origins::OriginPolicy;
pub use readiness::{InstancePhase, Readiness};
pub use request_id::RequestId;
use tokio::sync::Notify;

use crate::auth::Auth;
use crate::clock::Clock;
use crate::cluster::bus::redis::SharedLimits;
use crate::net::client_address::TrustedProxies;
use crate::session::Sessions;
use crate::store::Store;
use crate::webhooks::Endpoint;

const API: &str = "/api/v1";

/// What the doors lead to.
#[derive(Clone)]
pub struct AppState {
    /// The live raids.
    pub sessions: Sessions,
    /// The database.
    pub store: Arc<dyn Store>,
    /// What makes and checks tokens.
    pub auth: Auth,
    /// The database's time.
    pub clock: Arc<Clock>,
    /// What the health doors tell.
    pub readiness: Readiness,
    /// Told when an account was closed, whose raids are to be rewritten.
    pub erasure_requested: Arc<Notify>,
    /// Who is told of what has happened.
    pub webhook_endpoints: Arc<[Endpoint]>,
}

/// How the doors behave.
#[derive(Clone)]
pub struct Options {
    /// Where a socket reaches this instance directly.
    pub ws_url: String,
    /// The largest request body.
    pub body_bytes_max: usize,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// How long a request may take to be answered.
    pub request_timeout: Duration,
    /// Whose pages may call.
    pub allowed_origins: OriginPolicy,
    /// Whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted_proxies: TrustedProxies,
    /// Per client address.
    pub guest_signins_per_minute: u32,
    /// Wrong ones, per player; a few times as many per client address.
    pub invite_guesses_per_minute: u32,
    /// By REST, per player.
    pub commands_per_second: u32,
    /// Per player; ten times as many per client address.
    pub rest_reads_per_minute: u32,
    /// Per player; ten times as many per client address.
    pub rest_writes_per_minute: u32,
    /// Where all instances count together.
    pub shared_limits: Option<SharedLimits>,
}

/// All of HTTP. `socket` is merged in, so that the socket's upgrade passes through the same edge: its requests carry
/// [`RequestId`] and [`ClientAddress`](crate::net::client_address::ClientAddress), and it may answer with a [`ErrorResponse`].
pub fn build_router(doors: AppState, options: &Options, socket: Router) -> Router {
    let AppState {
        sessions,
        store,
        auth,
        clock,
        readiness,
        erasure_requested: closed,
        webhook_endpoints: webhooks,
    } = doors;
    let limits = Arc::new(rate_limits::RateLimits::new(options));
    let gate = extract::Authenticator {
        auth,
        clock,
        store: Arc::clone(&store),
        limits: Arc::clone(&limits),
    };
    let accounts = crate::http::routes::accounts::AccountApi {
        gate: gate.clone(),
        store: Arc::clone(&store),
        limits: Arc::clone(&limits),
    };
    let admin = crate::http::routes::admin::AdminApi {
        gate: gate.clone(),
        store: Arc::clone(&store),
        sessions: sessions.clone(),
    };
    let erasing = crate::http::routes::erasure::ErasureApi {
        gate: gate.clone(),
        store: Arc::clone(&store),
        erasure_requested: closed,
    };
    let webhooks = crate::http::routes::webhooks::WebhookApi {
        gate: gate.clone(),
        store: Arc::clone(&store),
        endpoints: webhooks,
    };
    let raids = crate::http::routes::raids::RaidApi {
        gate,
        store,
        sessions,
        limits,
        ws_url: options.ws_url.as_str().into(),
    };
    let routes = Router::new()
        .merge(crate::http::routes::web_app::routes(&options.ws_url))
        .merge(crate::http::routes::documents::routes())
        .merge(crate::http::routes::health::routes(readiness))
        .merge(crate::http::routes::identities::routes(accounts.clone()))
        .merge(crate::http::routes::export::routes(accounts.clone()))
        .merge(crate::http::routes::accounts::routes(accounts))
        .merge(crate::http::routes::erasure::routes(erasing))
        .merge(crate::http::routes::host_app::routes(raids.clone()))
        .merge(crate::http::routes::raids::routes(raids))
        .merge(crate::http::routes::admin::routes(admin))
        .merge(crate::http::routes::webhooks::routes(webhooks))
        .merge(socket);
    middleware::apply_middleware(routes, options)
}
