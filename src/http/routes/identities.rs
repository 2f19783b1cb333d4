//! `/auth/telegram` and `/auth/link`: players whom somebody else vouches for.

use axum::extract::{FromRequest, Request, State};
use axum::routing::post;
use axum::{Json, Router};
use raidhall_protocol::admin::Linked;
use raidhall_protocol::rest::{Data, TokenPair};

use crate::auth::{BANNED, ExternalIdentity};
use crate::error::Error;
use crate::http::error_response::{ErrorResponse, PLAYER_NOT_FOUND};
use crate::http::extract::{Authenticated, JsonBody};
use crate::http::header_names::X_TELEGRAM_INIT_DATA;
use crate::http::rate_limit_headers::RateLimitHeaders;
use crate::http::routes::accounts::AccountApi;
use crate::net::client_address::ClientAddress;
use crate::store::LinkOutcome;

const INIT_DATA_NOT_VALID: Error =
    Error::Unauthenticated("The init data are not valid, too old, or were used before");

pub(in crate::http) fn routes(accounts: AccountApi) -> Router {
    Router::new()
        .route("/api/v1/auth/telegram", post(sign_in_telegram))
        .route("/api/v1/auth/link", post(link_identity))
        .with_state(accounts)
}

/// What is presented to prove an identity.
enum IdentityProof {
    /// Of a Telegram Mini App.
    InitData(String),
    /// A foreign issuer's.
    Token(String),
}

impl IdentityProof {
    const fn field_name(&self) -> &'static str {
        match self {
            Self::InitData(_) => "init_data",
            Self::Token(_) => "token",
        }
    }
}

async fn sign_in_telegram(
    State(accounts): State<AccountApi>,
    from: ClientAddress,
    tally: RateLimitHeaders,
    presented: IdentityProof,
) -> Result<Json<Data<TokenPair>>, ErrorResponse> {
    let IdentityProof::InitData(init_data) = presented else {
        return Err(ErrorResponse::invalid_field("init_data", "is required"));
    };
    accounts.limits.charge_sign_in(from, &tally).await?;
    let vouched = accounts.redeem_init_data(&init_data).await?;
    let AccountApi { gate, store, .. } = accounts;
    let player = store
        .find_or_create_by_identity(&vouched.external_id, &vouched.name)
        .await?;
    if gate.auth.is_banned(player.id) {
        return Err(BANNED.into());
    }
    let data = gate.auth.sign_in(&*store, player, gate.clock.now()).await?;
    Ok(Json(Data { data }))
}

/// The guest becomes whom the identity vouches for; who has played stays who they are.
async fn link_identity(
    State(accounts): State<AccountApi>,
    signed: Authenticated,
    from: ClientAddress,
    tally: RateLimitHeaders,
    presented: IdentityProof,
) -> Result<Json<Data<Linked>>, ErrorResponse> {
    let player = signed.signed_in_player()?.id;
    accounts.limits.charge_sign_in(from, &tally).await?;
    let field = presented.field_name();
    let ExternalIdentity { external_id, .. } = match presented {
        IdentityProof::InitData(init_data) => accounts.redeem_init_data(&init_data).await?,
        IdentityProof::Token(token) => {
            let vouched = accounts
                .gate
                .auth
                .verify_external_identity(&token, accounts.gate.clock.now())
                .await;
            vouched.map_err(|error| match error {
                Error::Unavailable => error,
                _ => Error::Unauthenticated(
                    "The token is not one of an issuer that is believed here",
                ),
            })?
        }
    };
    match accounts.store.link_identity(player, &external_id).await? {
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

impl AccountApi {
    /// Whom Telegram vouches for, once.
    async fn redeem_init_data(&self, init_data: &str) -> Result<ExternalIdentity, ErrorResponse> {
        let auth = &self.gate.auth;
        if !auth.can_telegram_users_sign_in() {
            return Err(Error::Forbidden("Users of Telegram cannot sign in here").into());
        }
        let user = auth
            .verify_init_data(init_data, self.gate.clock.now())
            .ok_or(INIT_DATA_NOT_VALID)?;
        if !self.store.consume_proof(user.proof, user.proof_ttl).await? {
            return Err(INIT_DATA_NOT_VALID.into());
        }
        Ok(user.identity)
    }
}

impl<S: Send + Sync> FromRequest<S> for IdentityProof {
    type Rejection = ErrorResponse;

    async fn from_request(request: Request, state: &S) -> Result<IdentityProof, ErrorResponse> {
        if let Some(value) = request.headers().get(X_TELEGRAM_INIT_DATA) {
            let text = value
                .to_str()
                .map_err(|_| ErrorResponse::malformed("X-Telegram-Init-Data is not text"))?;
            return Ok(IdentityProof::InitData(text.to_owned()));
        }
        let body = JsonBody::from_request(request, state).await?;
        body.read(|fields| {
            let (token, init_data) = (
                fields.optional_text("token")?,
                fields.optional_text("init_data")?,
            );
            match (token, init_data) {
                (Some(token), None) => Some(IdentityProof::Token(token)),
                (None, Some(init_data)) => Some(IdentityProof::InitData(init_data)),
                _ => {
                    fields.fault("init_data", "or token is required, one of them");
                    None
                }
            }
        })
    }
}
