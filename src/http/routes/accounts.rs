//! `/auth` and `/me`: signing in, staying signed in, and what a player has done.

use std::sync::Arc;

use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use raidhall_protocol::admin::SignedOut;
use raidhall_protocol::rest::{Data, Profile, TokenPair};
use raidhall_protocol::server::PlayerRef;

use crate::auth::{BANNED, RefreshError, guest_name};
use crate::error::Error;
use crate::http::authentication::{Gate, Signed};
use crate::http::body::Body;
use crate::http::error_response::Failure;
use crate::http::limits::Limits;
use crate::http::rate_limit_headers::Tally;
use crate::net::client_address::ClientAddress;
use crate::store::Store;

#[derive(Clone)]
pub(in crate::http) struct Accounts {
    pub(in crate::http) gate: Gate,
    pub(in crate::http) store: Arc<dyn Store>,
    pub(in crate::http) limits: Arc<Limits>,
}

pub(in crate::http) fn routes(accounts: Accounts) -> Router {
    Router::new()
        .route("/api/v1/auth/guest", post(guest))
        .route("/api/v1/auth/refresh", post(refresh))
        .route("/api/v1/auth/sign-out", post(sign_out))
        .route("/api/v1/me", get(me))
        .with_state(accounts)
}

async fn guest(
    State(Accounts {
        gate,
        store,
        limits,
    }): State<Accounts>,
    from: ClientAddress,
    tally: Tally,
    body: Body,
) -> Result<(StatusCode, Json<Data<TokenPair>>), Failure> {
    if !gate.auth.guests_welcome() {
        return Err(Error::Forbidden("Guests cannot sign in here").into());
    }
    let name = body.read(|fields| {
        let text = fields.text("name")?;
        guest_name(&text)
            .map(str::to_owned)
            .map_err(|must| fields.fault("name", must))
            .ok()
    })?;
    limits.guest(from, &tally).await?;
    let Profile { id, name, .. } = store.create_player(&name).await?;
    let data = gate
        .auth
        .sign_in(&*store, PlayerRef { id, name }, gate.clock.now())
        .await?;
    Ok((StatusCode::CREATED, Json(Data { data })))
}

async fn refresh(
    State(Accounts {
        gate,
        store,
        limits,
    }): State<Accounts>,
    from: ClientAddress,
    tally: Tally,
    body: Body,
) -> Result<Json<Data<TokenPair>>, Failure> {
    let token = body.read(|fields| fields.text("refresh_token"))?;
    limits.refresh(from, &tally).await?;
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
    State(Accounts { gate, store, .. }): State<Accounts>,
    signed: Signed,
) -> Result<Json<Data<SignedOut>>, Failure> {
    let family = signed.0.family.ok_or(Error::Forbidden(
        "This token belongs to no sign-in; it ends by itself",
    ))?;
    gate.auth.sign_out(&*store, family).await?;
    Ok(Json(Data {
        data: SignedOut { signed_out: true },
    }))
}

async fn me(
    State(accounts): State<Accounts>,
    signed: Signed,
) -> Result<Json<Data<Profile>>, Failure> {
    let profile = accounts.store.player(signed.player()?.id).await?;
    let data = profile.ok_or(Error::NotFound("There is no such player"))?;
    Ok(Json(Data { data }))
}

impl FromRef<Accounts> for Gate {
    fn from_ref(accounts: &Accounts) -> Gate {
        accounts.gate.clone()
    }
}
