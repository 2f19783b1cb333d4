//! The REST doors: one file per resource. Handlers translate; they hold no rules.
//!
//! `edge` is what every request passes through, `failure` how every error leaves, `server` the accept loop underneath.

mod account_for;
mod accounts;
mod admin;
mod asset;
mod body;
mod commands;
mod documents;
mod edge;
mod erasure;
mod export;
mod failure;
mod gate;
mod health;
mod host_app;
mod idempotency;
mod identities;
mod ledger;
mod limits;
mod origins;
mod query;
mod raids;
mod readiness;
mod request_id;
pub mod server;
mod tally;
mod web_app;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
pub use failure::Failure;
pub use origins::Origins;
pub(crate) use query::{Query, seq};
pub(crate) use raids::RaidPath;
pub use readiness::{Phase, Readiness};
pub use request_id::RequestId;
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
    let gate = gate::Gate {
        auth,
        clock,
        store: Arc::clone(&store),
        limits: Arc::clone(&limits),
    };
    let accounts = accounts::Accounts {
        gate: gate.clone(),
        store: Arc::clone(&store),
        limits: Arc::clone(&limits),
    };
    let admin = admin::Admin {
        gate: gate.clone(),
        store: Arc::clone(&store),
        sessions: sessions.clone(),
    };
    let erasing = erasure::Erasing {
        gate: gate.clone(),
        store: Arc::clone(&store),
        closed,
    };
    let webhooks = webhooks::Webhooks {
        gate: gate.clone(),
        store: Arc::clone(&store),
        endpoints: webhooks,
    };
    let raids = raids::Raids {
        gate,
        store,
        sessions,
        limits,
        ws_url: options.ws_url.as_str().into(),
    };
    let routes = Router::new()
        .merge(web_app::routes(&options.ws_url))
        .merge(documents::routes())
        .merge(health::routes(readiness))
        .merge(identities::routes(accounts.clone()))
        .merge(export::routes(accounts.clone()))
        .merge(accounts::routes(accounts))
        .merge(erasure::routes(erasing))
        .merge(host_app::routes(raids.clone()))
        .merge(raids::routes(raids))
        .merge(admin::routes(admin))
        .merge(webhooks::routes(webhooks))
        .merge(socket);
    edge::around(routes, options)
}
