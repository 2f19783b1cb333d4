//! `/auth/telegram` and `/auth/link`: signing in with an external identity, and adding one to a
//! player.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use raidhall_protocol::admin::Linked;
use raidhall_protocol::rest::{Data, TokenPair};

use crate::auth::{BANNED, ExternalIdentity};
use crate::error::Error;
use crate::http::AppState;
use crate::http::error_response::{ErrorResponse, PLAYER_NOT_FOUND};
use crate::http::extract::{Authenticated, IdentityProof};
use crate::http::rate_limit_headers::RateLimitHeaders;
use crate::net::client_address::ClientAddress;
use crate::store::LinkOutcome;

const INIT_DATA_NOT_VALID: Error =
    Error::Unauthenticated("The init data are not valid, too old, or were used before");

pub(in crate::http) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/api/v1/auth/telegram", post(sign_in_telegram))
        .route("/api/v1/auth/link", post(link_identity))
}

async fn sign_in_telegram(
    State(app): State<Arc<AppState>>,
    address: ClientAddress,
    limit_headers: RateLimitHeaders,
    proof: IdentityProof,
) -> Result<Json<Data<TokenPair>>, ErrorResponse> {
    let IdentityProof::InitData(init_data) = proof else {
        return Err(ErrorResponse::invalid_field("init_data", "is required"));
    };
    app.rate_limits
        .charge_sign_in(address, &limit_headers)
        .await?;
    let vouched = redeem_init_data(&app, &init_data).await?;
    let player = app
        .store
        .find_or_create_by_identity(&vouched.external_id, &vouched.name)
        .await?;
    if app.auth.is_banned(player.id) {
        return Err(BANNED.into());
    }
    let data = app.sign_in(player).await?;
    Ok(Json(Data { data }))
}

/// Adds an external identity to the player, whose id and name stay the same.
async fn link_identity(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
    address: ClientAddress,
    limit_headers: RateLimitHeaders,
    proof: IdentityProof,
) -> Result<Json<Data<Linked>>, ErrorResponse> {
    let player = caller.signed_in_player()?.id;
    app.rate_limits
        .charge_sign_in(address, &limit_headers)
        .await?;
    let field = proof.field_name();
    let ExternalIdentity { external_id, .. } = match proof {
        IdentityProof::InitData(init_data) => redeem_init_data(&app, &init_data).await?,
        IdentityProof::Token(token) => {
            let vouched = app
                .auth
                .verify_external_identity(&token, app.clock.now())
                .await;
            vouched.map_err(|error| match error {
                Error::Unavailable => error,
                _ => Error::Unauthenticated(
                    "The token is not one of an issuer that is believed here",
                ),
            })?
        }
    };
    match app.store.link_identity(player, &external_id).await? {
        LinkOutcome::Linked => Ok(Json(Data {
            data: Linked {
                player,
                external_id,
            },
        })),
        LinkOutcome::Taken => Err(ErrorResponse::invalid_field(
            field,
            "is another player's already; sign in with it",
        )),
        LinkOutcome::HasAnother => Err(ErrorResponse::invalid_field(
            field,
            "cannot be added: this player has an identity already",
        )),
        LinkOutcome::Missing => Err(PLAYER_NOT_FOUND.into()),
    }
}

/// Verifies the init data of a Telegram Mini App and marks them as used: they prove an identity
/// only once.
async fn redeem_init_data(
    app: &AppState,
    init_data: &str,
) -> Result<ExternalIdentity, ErrorResponse> {
    if !app.auth.can_telegram_users_sign_in() {
        return Err(Error::Forbidden("Users of Telegram cannot sign in here").into());
    }
    let now = app.clock.now();
    let user = app
        .auth
        .verify_init_data(init_data, now)
        .ok_or(INIT_DATA_NOT_VALID)?;
    if !app
        .store
        .consume_proof(user.proof, now, user.proof_ttl)
        .await?
    {
        return Err(INIT_DATA_NOT_VALID.into());
    }
    Ok(user.identity)
}
