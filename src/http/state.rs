//! The state of the REST routes.

use std::ops::Deref;
use std::sync::Arc;

use raidhall_protocol::PlayerId;
use raidhall_protocol::rest::TokenPair;
use raidhall_protocol::server::PlayerRef;
use tokio::sync::{Notify, Semaphore};

use super::Options;
use super::error_response::{ErrorResponse, PLAYER_NOT_FOUND};
use super::rate_limits::RateLimits;
use super::readiness::Readiness;
use crate::auth::{Auth, BANNED};
use crate::clock::Clock;
use crate::session::Sessions;
use crate::store::Store;
use crate::webhooks::Endpoint;

/// Pages of exports that are read at once, of all downloads together, so that they cannot take the database's
/// connections from play. The others wait; a client that does not read holds nothing up.
const EXPORT_PAGES_MAX: usize = 2;

/// The parts of an instance that the REST API works with, as [`build_router`](super::build_router) takes them.
#[derive(Clone)]
pub struct AppState {
    /// The live raids of this instance.
    pub sessions: Sessions,
    /// The durable truth of players and raids.
    pub store: Arc<dyn Store>,
    /// Makes and checks tokens.
    pub auth: Auth,
    /// The database's time, by which tokens expire.
    pub clock: Arc<Clock>,
    /// The source of the answers to health checks.
    pub readiness: Readiness,
    /// Wakes the eraser when an erasure has begun.
    pub erasure_requested: Arc<Notify>,
    /// The configured webhook endpoints, for operators.
    pub webhook_endpoints: Arc<[Endpoint]>,
}

/// The state that every REST route and extractor shares: the app's parts, reached by [`Deref`], and those that the
/// API's own options make. Cheap to clone.
#[derive(Clone)]
pub(super) struct ApiState {
    app: Arc<AppState>,
    pub(super) rate_limits: Arc<RateLimits>,
    /// The WebSocket URL of this instance, for raids that no other instance owns.
    pub(super) ws_url: Arc<str>,
    pub(super) export_page_permits: Arc<Semaphore>,
}

impl ApiState {
    pub(super) fn new(app: AppState, options: &Options) -> ApiState {
        ApiState {
            app: Arc::new(app),
            rate_limits: Arc::new(RateLimits::new(options)),
            ws_url: options.ws_url.as_str().into(),
            export_page_permits: Arc::new(Semaphore::new(EXPORT_PAGES_MAX)),
        }
    }

    /// Signs a player in: a new token family and its first pair of tokens.
    pub(super) async fn sign_in(&self, player: PlayerRef) -> Result<TokenPair, ErrorResponse> {
        let now = self.clock.now();
        Ok(self.auth.sign_in(&*self.store, player, now).await?)
    }

    /// Finds a player by id. Fails with 403 if the player is banned, and with 404 if there is none.
    pub(super) async fn unbanned_player(&self, id: PlayerId) -> Result<PlayerRef, ErrorResponse> {
        if self.auth.is_banned(id) {
            return Err(BANNED.into());
        }
        let profile = self.store.player(id).await?.ok_or(PLAYER_NOT_FOUND)?;
        Ok(PlayerRef {
            id: profile.id,
            name: profile.name,
        })
    }
}

impl Deref for ApiState {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.app
    }
}
