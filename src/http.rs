//! The REST API: `routes` has a file per resource. Handlers translate; they hold no rules.
//!
//! Every request passes through `middleware`, every error leaves through `error_response`, and `server` is the accept loop
//! underneath.

mod audited;
mod authentication;
mod body;
mod error_response;
mod idempotency;
mod limits;
mod middleware;
mod origins;
mod query;
mod rate_limit_headers;
mod readiness;
mod request_id;
mod routes;
pub mod server;
mod static_files;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
pub use error_response::Failure;
pub use origins::Origins;
pub(crate) use query::{Query, seq};
pub use readiness::{Phase, Readiness};
pub use request_id::RequestId;
pub(crate) use routes::raids::RaidPath;
use tokio::sync::Notify;

use crate::auth::Auth;
use crate::clock::Clock;
use crate::cluster::bus::redis::Allowances;
use crate::net::client_address::Proxies;
use crate::session::Sessions;
use crate::store::Store;
use crate::webhooks::Endpoint;

const API: &str = "/api/v1";

/// What the doors lead to.
#[derive(Clone)]
pub struct Doors {
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
    pub closed: Arc<Notify>,
    /// Who is told of what has happened.
    pub webhooks: Arc<[Endpoint]>,
}

/// How the doors behave.
#[derive(Clone)]
pub struct Options {
    /// Where a socket reaches this instance directly.
    pub ws_url: String,
    /// The largest request body.
    pub body_bytes: usize,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// How long a request may take to be answered.
    pub request_timeout: Duration,
    /// Whose pages may call.
    pub allowed_origins: Origins,
    /// Whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted_proxies: Proxies,
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
    pub shared_limits: Option<Allowances>,
}

/// All of HTTP. `socket` is merged in, so that the socket's upgrade passes through the same edge: its requests carry
/// [`RequestId`] and [`ClientAddress`](crate::net::client_address::ClientAddress), and it may answer with a [`Failure`].
pub fn router(doors: Doors, options: &Options, socket: Router) -> Router {
    let Doors {
        sessions,
        store,
        auth,
        clock,
        readiness,
        closed,
        webhooks,
    } = doors;
    let limits = Arc::new(limits::Limits::new(options));
    let gate = authentication::Gate {
        auth,
        clock,
        store: Arc::clone(&store),
        limits: Arc::clone(&limits),
    };
    let accounts = crate::http::routes::accounts::Accounts {
        gate: gate.clone(),
        store: Arc::clone(&store),
        limits: Arc::clone(&limits),
    };
    let admin = crate::http::routes::admin::Admin {
        gate: gate.clone(),
        store: Arc::clone(&store),
        sessions: sessions.clone(),
    };
    let erasing = crate::http::routes::erasure::Erasing {
        gate: gate.clone(),
        store: Arc::clone(&store),
        closed,
    };
    let webhooks = crate::http::routes::webhooks::Webhooks {
        gate: gate.clone(),
        store: Arc::clone(&store),
        endpoints: webhooks,
    };
    let raids = crate::http::routes::raids::Raids {
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
    middleware::around(routes, options)
}
