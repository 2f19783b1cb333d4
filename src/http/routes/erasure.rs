//! Players who want to be forgotten, or whose host app wants it. What is theirs alone is gone with the answer; what they
//! wrote in raids follows within seconds, whatever dies.

use std::sync::Arc;

use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::routing::delete;
use axum::{Json, Router};
use raidhall_protocol::PlayerId;
use raidhall_protocol::admin::Erased;
use raidhall_protocol::rest::Data;
use serde_json::json;
use tokio::sync::Notify;

use crate::auth::Scope;
use crate::error::Error;
use crate::http::error_response::{ErrorResponse, PLAYER_NOT_FOUND};
use crate::http::extract::{Audited, Authenticator, PlayerPath};
use crate::raid::erasure;
use crate::store::Store;

#[derive(Clone)]
pub(in crate::http) struct ErasureApi {
    pub(in crate::http) gate: Authenticator,
    pub(in crate::http) store: Arc<dyn Store>,
    /// Wakes whoever goes through the raids.
    pub(in crate::http) erasure_requested: Arc<Notify>,
}

pub(in crate::http) fn routes(erasing: ErasureApi) -> Router {
    Router::new()
        .route("/api/v1/me", delete(erase_self))
        .route("/api/v1/players/{id}", delete(erase_player))
        .with_state(erasing)
}

type ErasureResult = Result<(StatusCode, Json<Data<Erased>>), ErrorResponse>;

async fn erase_self(State(erasing): State<ErasureApi>, by: Audited) -> ErasureResult {
    let player = by.authenticated.signed_in_player()?.id;
    erasing.erase(player, &by).await
}

async fn erase_player(
    State(erasing): State<ErasureApi>,
    by: Audited,
    PlayerPath(player): PlayerPath,
) -> ErasureResult {
    match by.authenticated.0.scope {
        Scope::Service | Scope::Admin => erasing.erase(player, &by).await,
        Scope::Player => {
            Err(Error::Forbidden("Only the host app's backend and operators may do this").into())
        }
    }
}

impl ErasureApi {
    async fn erase(&self, player: PlayerId, by: &Audited) -> ErasureResult {
        let deed = by.audit_entry("erase", format!("player {player}"), json!({}));
        if !self
            .store
            .begin_erasure(player, erasure::ERASED_TEXT, &deed)
            .await?
        {
            return Err(PLAYER_NOT_FOUND.into());
        }
        self.gate.auth.request_revocation_poll();
        self.erasure_requested.notify_one();
        Ok((
            StatusCode::ACCEPTED,
            Json(Data {
                data: Erased {
                    player,
                    erased: true,
                },
            }),
        ))
    }
}

impl FromRef<ErasureApi> for Authenticator {
    fn from_ref(erasing: &ErasureApi) -> Authenticator {
        erasing.gate.clone()
    }
}
