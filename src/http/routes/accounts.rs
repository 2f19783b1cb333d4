//! `/auth` and `/me`: signing in, refreshing tokens, signing out, and the player's own account.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use raidhall_protocol::admin::SignedOut;
use raidhall_protocol::rest::{Data, Profile, TokenPair};
use raidhall_protocol::server::PlayerRef;

use crate::auth::{BANNED, RefreshError, validate_player_name};
use crate::error::Error;
use crate::http::AppState;
use crate::http::error_response::{ErrorResponse, PLAYER_NOT_FOUND};
use crate::http::extract::{Authenticated, JsonBody, parse_text};
use crate::http::rate_limit_headers::RateLimitHeaders;
use crate::net::client_address::ClientAddress;

pub(in crate::http) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/api/v1/auth/guest", post(sign_in_guest))
        .route("/api/v1/auth/refresh", post(refresh_tokens))
        .route("/api/v1/auth/sign-out", post(sign_out))
        .route("/api/v1/me", get(show_profile))
}

async fn sign_in_guest(
    State(app): State<Arc<AppState>>,
    address: ClientAddress,
    limit_headers: RateLimitHeaders,
    body: JsonBody,
) -> Result<(StatusCode, Json<Data<TokenPair>>), ErrorResponse> {
    if !app.auth.can_guests_sign_in() {
        return Err(Error::Forbidden("Guests cannot sign in here").into());
    }
    let name = body.read(|fields| {
        let text = fields.text("name")?;
        parse_text(fields, "name", &text, validate_player_name)
    })?;
    app.rate_limits
        .charge_sign_in(address, &limit_headers)
        .await?;
    app.readiness.require_space()?;
    let Profile { id, name, .. } = app.store.create_player(&name).await?;
    let data = app.sign_in(PlayerRef { id, name }).await?;
    Ok((StatusCode::CREATED, Json(Data { data })))
}

async fn refresh_tokens(
    State(app): State<Arc<AppState>>,
    address: ClientAddress,
    limit_headers: RateLimitHeaders,
    body: JsonBody,
) -> Result<Json<Data<TokenPair>>, ErrorResponse> {
    let token = body.read(|fields| fields.text("refresh_token"))?;
    app.rate_limits
        .charge_refresh(address, &limit_headers)
        .await?;
    match app.auth.refresh(&*app.store, &token, app.clock.now()).await {
        Ok(data) => Ok(Json(Data { data })),
        Err(RefreshError::Store(error)) => Err(error.into()),
        Err(RefreshError::Banned) => Err(BANNED.into()),
        Err(RefreshError::Unknown) => {
            Err(Error::Unauthenticated("The refresh token is not valid").into())
        }
        Err(error @ RefreshError::Reused(_)) => {
            tracing::warn!(%error, "a sign-in was revoked");
            Err(Error::Unauthenticated("The refresh token was used before; sign in again").into())
        }
    }
}

async fn sign_out(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
) -> Result<Json<Data<SignedOut>>, ErrorResponse> {
    let family = caller.0.family.ok_or(Error::Forbidden(
        "This token belongs to no sign-in; it ends by itself",
    ))?;
    app.auth
        .sign_out(&*app.store, family, app.clock.now())
        .await?;
    Ok(Json(Data {
        data: SignedOut { signed_out: true },
    }))
}

async fn show_profile(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
) -> Result<Json<Data<Profile>>, ErrorResponse> {
    let profile = app.store.player(caller.player()?.id).await?;
    let data = profile.ok_or(PLAYER_NOT_FOUND)?;
    Ok(Json(Data { data }))
}
