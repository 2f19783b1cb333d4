//! `/auth` and `/me`: signing in, staying signed in, and what a player has done.

use std::sync::Arc;

use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use raidhall_protocol::admin::SignedOut;
use raidhall_protocol::rest::{Data, Profile, TokenPair};
use raidhall_protocol::server::PlayerRef;

use crate::auth::{BANNED, RefreshError, validate_player_name};
use crate::error::Error;
use crate::http::error_response::{ErrorResponse, PLAYER_NOT_FOUND};
use crate::http::extract::{Authenticated, Authenticator, JsonBody};
use crate::http::rate_limit_headers::RateLimitHeaders;
use crate::http::rate_limits::RateLimits;
use crate::net::client_address::ClientAddress;
use crate::store::Store;

#[derive(Clone)]
pub(in crate::http) struct AccountApi {
    pub(in crate::http) gate: Authenticator,
    pub(in crate::http) store: Arc<dyn Store>,
    pub(in crate::http) limits: Arc<RateLimits>,
}

pub(in crate::http) fn routes(accounts: AccountApi) -> Router {
    Router::new()
        .route("/api/v1/auth/guest", post(sign_in_guest))
        .route("/api/v1/auth/refresh", post(refresh_tokens))
        .route("/api/v1/auth/sign-out", post(sign_out))
        .route("/api/v1/me", get(show_profile))
        .with_state(accounts)
}

async fn sign_in_guest(
    State(AccountApi {
        gate,
        store,
        limits,
    }): State<AccountApi>,
    from: ClientAddress,
    tally: RateLimitHeaders,
    body: JsonBody,
) -> Result<(StatusCode, Json<Data<TokenPair>>), ErrorResponse> {
    if !gate.auth.can_guests_sign_in() {
        return Err(Error::Forbidden("Guests cannot sign in here").into());
    }
    let name = body.read(|fields| {
        let text = fields.text("name")?;
        validate_player_name(&text)
            .map(str::to_owned)
            .map_err(|must| fields.fault("name", must))
            .ok()
    })?;
    limits.charge_sign_in(from, &tally).await?;
    let Profile { id, name, .. } = store.create_player(&name).await?;
    let data = gate
        .auth
        .sign_in(&*store, PlayerRef { id, name }, gate.clock.now())
        .await?;
    Ok((StatusCode::CREATED, Json(Data { data })))
}

async fn refresh_tokens(
    State(AccountApi {
        gate,
        store,
        limits,
    }): State<AccountApi>,
    from: ClientAddress,
    tally: RateLimitHeaders,
    body: JsonBody,
) -> Result<Json<Data<TokenPair>>, ErrorResponse> {
    let token = body.read(|fields| fields.text("refresh_token"))?;
    limits.charge_refresh(from, &tally).await?;
    match gate.auth.refresh(&*store, &token, gate.clock.now()).await {
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
    State(AccountApi { gate, store, .. }): State<AccountApi>,
    signed: Authenticated,
) -> Result<Json<Data<SignedOut>>, ErrorResponse> {
    let family = signed.0.family.ok_or(Error::Forbidden(
        "This token belongs to no sign-in; it ends by itself",
    ))?;
    gate.auth.sign_out(&*store, family).await?;
    Ok(Json(Data {
        data: SignedOut { signed_out: true },
    }))
}

async fn show_profile(
    State(accounts): State<AccountApi>,
    signed: Authenticated,
) -> Result<Json<Data<Profile>>, ErrorResponse> {
    let profile = accounts.store.player(signed.player()?.id).await?;
    let data = profile.ok_or(PLAYER_NOT_FOUND)?;
    Ok(Json(Data { data }))
}

impl FromRef<AccountApi> for Authenticator {
    fn from_ref(accounts: &AccountApi) -> Authenticator {
        accounts.gate.clone()
    }
}
