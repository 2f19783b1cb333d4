//! Who may come in: the access token of a request.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use raidhall_protocol::server::PlayerRef;

use super::error_response::ErrorResponse;
use super::rate_limits::RateLimits;
use crate::auth::{self, Auth, Identity, Scope};
use crate::clock::Clock;
use crate::error::Error;
use crate::net::client_address::ClientAddress;
use crate::store::Store;

/// What checks tokens.
#[derive(Clone)]
pub(super) struct Authenticator {
    pub(super) auth: Auth,
    pub(super) clock: Arc<Clock>,
    /// Knows players who come with foreign tokens.
    pub(super) store: Arc<dyn Store>,
    pub(super) limits: Arc<RateLimits>,
}

/// A caller with a valid access token, who has not asked too often. Players are counted; the host app's backend, which
/// asks for all of them, and operators are not.
pub(super) struct Authenticated(pub(super) Identity);

impl Authenticated {
    /// The player who acts by this token: an operator's only looks, whomever it names.
    pub(super) fn acting_player(&self) -> Result<&PlayerRef, ErrorResponse> {
        match self.0.scope {
            Scope::Player | Scope::Service => self.player(),
            Scope::Admin => Err(Error::Forbidden("This token may look and no more").into()),
        }
    }

    /// The player whom the token speaks for.
    pub(super) fn player(&self) -> Result<&PlayerRef, ErrorResponse> {
        self.0
            .player
            .as_ref()
            .ok_or_else(|| Error::Forbidden("Only a player may do this").into())
    }
}

impl<S: Sync> FromRequestParts<S> for Authenticated
where
    Authenticator: FromRef<S>,
{
    type Rejection = ErrorResponse;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &S,
    ) -> Result<Authenticated, ErrorResponse> {
        let Authenticator {
            auth,
            clock,
            store,
            limits,
        } = Authenticator::from_ref(state);
        let token =
            auth::bearer_token(&parts.headers).ok_or(Error::Unauthenticated("Sign in first"))?;
        let identity = auth.authenticate(&*store, token, clock.now()).await?;
        if let (Scope::Player, Some(player)) = (identity.scope, &identity.player) {
            let from = parts
                .extensions
                .get()
                .copied()
                .unwrap_or(ClientAddress::UNKNOWN);
            let tally = parts.extensions.get().cloned().unwrap_or_default();
            limits
                .charge_request(&parts.method, player.id, from, &tally)
                .await?;
        }
        Ok(Authenticated(identity))
    }
}
