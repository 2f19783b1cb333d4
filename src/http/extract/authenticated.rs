//! The caller of a request, authenticated by an access token.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use raidhall_protocol::OpKey;
use raidhall_protocol::server::PlayerRef;

use crate::auth::{self, Identity, Scope};
use crate::error::Error;
use crate::http::AppState;
use crate::http::error_response::ErrorResponse;
use crate::http::rate_limit_headers::RateLimitHeaders;
use crate::net::client_address::ClientAddress;
use crate::store::OpHash;

const PLAYERS_ONLY: Error = Error::Forbidden("Only a player may do this");

/// A caller with a valid access token, within the rate limits. Only players are counted; operators
/// are not, nor is the host app's backend, which calls for all of its players.
pub(in crate::http) struct Authenticated(pub(in crate::http) Identity);

impl Authenticated {
    /// Returns the player that this token acts for. An operator's token acts for no player, even if
    /// it names one.
    pub(in crate::http) fn acting_player(&self) -> Result<&PlayerRef, ErrorResponse> {
        match self.0.scope {
            Scope::Player | Scope::Service => self.player(),
            Scope::Admin => Err(Error::Forbidden("This token can only read").into()),
        }
    }

    /// Returns the player whose own token this is. A token of another scope is refused, even if it
    /// names a player.
    pub(in crate::http) fn signed_in_player(&self) -> Result<&PlayerRef, ErrorResponse> {
        match self.0.scope {
            Scope::Player => self.player(),
            Scope::Service | Scope::Admin => Err(PLAYERS_ONLY.into()),
        }
    }

    /// Returns the player that the token names.
    pub(in crate::http) fn player(&self) -> Result<&PlayerRef, ErrorResponse> {
        self.0.player.as_ref().ok_or_else(|| PLAYERS_ONLY.into())
    }

    /// Returns an op as stored: hashed together with the caller's subject.
    pub(in crate::http) fn op_hash(&self, op: Option<OpKey>) -> Option<OpHash> {
        op.map(|op| OpHash::new(&self.0.subject, &op))
    }
}

/// Returns the access token of a request. Fails with 401 if there is none.
pub(crate) fn require_bearer_token(headers: &HeaderMap) -> Result<&str, Error> {
    auth::bearer_token(headers).ok_or(Error::Unauthenticated("Sign in first"))
}

impl FromRequestParts<Arc<AppState>> for Authenticated {
    type Rejection = ErrorResponse;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &Arc<AppState>,
    ) -> Result<Authenticated, ErrorResponse> {
        let token = require_bearer_token(&parts.headers)?;
        let now = app.clock.now();
        let identity = app.auth.authenticate(&*app.store, token, now).await?;
        if let (Scope::Player, Some(player)) = (identity.scope, &identity.player) {
            let Ok(address) = ClientAddress::from_request_parts(parts, app).await;
            let Ok(limit_headers) = RateLimitHeaders::from_request_parts(parts, app).await;
            app.rate_limits
                .charge_request(&parts.method, player.id, address, &limit_headers)
                .await?;
        }
        Ok(Authenticated(identity))
    }
}
