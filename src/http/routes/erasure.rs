//! The erasure of a player, requested by the player or the host app. The account's own data is
//! deleted before the response is sent; the player's texts in raids follow within seconds, even if
//! an instance crashes.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::delete;
use axum::{Json, Router};
use raidhall_protocol::PlayerId;
use raidhall_protocol::admin::Erased;
use raidhall_protocol::rest::Data;
use serde_json::json;

use crate::auth::Scope;
use crate::error::Error;
use crate::http::AppState;
use crate::http::error_response::{ErrorResponse, PLAYER_NOT_FOUND};
use crate::http::extract::{Audited, PlayerPath};
use crate::raid::erasure;

pub(in crate::http) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/api/v1/me", delete(erase_self))
        .route("/api/v1/players/{id}", delete(erase_player))
}

type ErasureResult = Result<(StatusCode, Json<Data<Erased>>), ErrorResponse>;

async fn erase_self(State(app): State<Arc<AppState>>, caller: Audited) -> ErasureResult {
    let player = caller.authenticated.signed_in_player()?.id;
    erase(&app, player, &caller).await
}

async fn erase_player(
    State(app): State<Arc<AppState>>,
    caller: Audited,
    PlayerPath(player): PlayerPath,
) -> ErasureResult {
    match caller.authenticated.0.scope {
        Scope::Service | Scope::Admin => erase(&app, player, &caller).await,
        Scope::Player => {
            Err(Error::Forbidden("Only the host app's backend and operators may do this").into())
        }
    }
}

async fn erase(app: &AppState, player: PlayerId, caller: &Audited) -> ErasureResult {
    let entry = caller.audit_entry("erase", format!("player {player}"), json!({}));
    let begun = app
        .store
        .begin_erasure(player, erasure::ERASED_TEXT, &entry)
        .await?;
    if !begun {
        return Err(PLAYER_NOT_FOUND.into());
    }
    app.auth.request_revocation_poll();
    app.erasure_requested.notify_one();
    let erased = Erased {
        player,
        erased: true,
    };
    Ok((StatusCode::ACCEPTED, Json(Data { data: erased })))
}
