//! The state of the REST routes.

use std::sync::Arc;

use raidhall_protocol::PlayerId;
use raidhall_protocol::rest::TokenPair;
use raidhall_protocol::server::PlayerRef;
use tokio::sync::{Notify, Semaphore};

use super::error_response::{ErrorResponse, PLAYER_NOT_FOUND};
use super::rate_limits::RateLimits;
use super::readiness::Readiness;
use crate::auth::{Auth, BANNED};
use crate::clock::Clock;
use crate::limits::keyed_limit::KeyedLimit;
use crate::session::Registry;
use crate::store::Store;
use crate::streams::Streams;
use crate::webhooks::Endpoint;

/// The most export pages that are read from the store at the same time.
const EXPORT_PAGES_MAX: usize = 2;

/// The state of every REST route and extractor.
pub struct AppState {
    /// The live raids of this instance.
    pub sessions: Registry,
    /// The players' streams of events.
    pub streams: Streams,
    /// The store of players and raids.
    pub store: Arc<dyn Store>,
    /// The component that makes and checks tokens.
    pub auth: Auth,
    /// The clock that follows the database's time, by which tokens expire.
    pub clock: Arc<Clock>,
    /// The source of the answers to health checks.
    pub readiness: Readiness,
    /// The signal that wakes the eraser when an erasure has begun.
    pub erasure_requested: Arc<Notify>,
    /// The configured webhook endpoints, for the operators' routes.
    pub webhook_endpoints: Vec<Endpoint>,
    /// The WebSocket URL of this instance, reported for raids that no other instance owns.
    pub ws_url: String,
    /// The rate limits of players and addresses.
    pub rate_limits: RateLimits,
    /// The limits on exports at the same time.
    pub export_permits: ExportPermits,
}

/// The permits that bound exports at the same time.
pub struct ExportPermits {
    /// Permits to read a page of an export, for all downloads together, so that downloads cannot
    /// take the database connections that raids need. A client that does not read its download
    /// holds none.
    pub(super) pages: Arc<Semaphore>,
    /// One permit for each player.
    pub(super) downloads: Arc<KeyedLimit<PlayerId>>,
}

impl Default for ExportPermits {
    fn default() -> Self {
        Self {
            pages: Arc::new(Semaphore::new(EXPORT_PAGES_MAX)),
            downloads: Arc::new(KeyedLimit::new(1)),
        }
    }
}

impl AppState {
    /// Signs a player in: creates a token family and returns its first pair of tokens.
    pub(super) async fn sign_in(&self, player: PlayerRef) -> Result<TokenPair, ErrorResponse> {
        let now = self.clock.now();
        Ok(self.auth.sign_in(&*self.store, player, now).await?)
    }

    /// Finds a player by id, with their present name: that in a token may be older. Fails with 403 if the player is banned, and with 404 if no player has
    /// the id.
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
