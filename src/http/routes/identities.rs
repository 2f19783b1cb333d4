//! `/auth/telegram` and `/auth/link`: players whom somebody else vouches for.

use axum::extract::{FromRequest, Request, State};
use axum::http::HeaderName;
use axum::routing::post;
use axum::{Json, Router};
use raidhall_protocol::admin::Linked;
use raidhall_protocol::rest::{Data, TokenPair};

use crate::auth::{BANNED, Scope, Vouched};
use crate::error::Error;
use crate::http::authentication::Signed;
use crate::http::body::Body;
use crate::http::error_response::Failure;
use crate::http::rate_limit_headers::Tally;
use crate::http::routes::accounts::Accounts;
use crate::net::client_address::ClientAddress;
use crate::store::LinkOutcome;

/// Carries what `init_data` does.
pub(in crate::http) const INIT_DATA: HeaderName = HeaderName::from_static("x-telegram-init-data");
const NOT_VALID: Error =
    Error::Unauthenticated("The init data are not valid, too old, or were used before");

pub(in crate::http) fn routes(accounts: Accounts) -> Router {
    Router::new()
        .route("/api/v1/auth/telegram", post(telegram))
        .route("/api/v1/auth/link", post(link))
        .with_state(accounts)
}

/// What is presented to prove an identity.
enum Presented {
    /// Of a Telegram Mini App.
    InitData(String),
    /// A foreign issuer's.
    Token(String),
}

impl Presented {
    const fn field(&self) -> &'static str {
        match self {
            Self::InitData(_) => "init_data",
            Self::Token(_) => "token",
        }
    }
}

async fn telegram(
    State(accounts): State<Accounts>,
    from: ClientAddress,
    tally: Tally,
    presented: Presented,
) -> Result<Json<Data<TokenPair>>, Failure> {
    let Presented::InitData(init_data) = presented else {
        return Err(Failure::field("init_data", "is required"));
    };
    accounts.limits.guest(from, &tally).await?;
    let vouched = accounts.telegram_user(&init_data).await?;
    let Accounts { gate, store, .. } = accounts;
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
async fn link(
    State(accounts): State<Accounts>,
    signed: Signed,
    from: ClientAddress,
    tally: Tally,
    presented: Presented,
) -> Result<Json<Data<Linked>>, Failure> {
    if signed.0.scope != Scope::Player {
        return Err(Error::Forbidden("Only a player may do this").into());
    }
    let player = signed.player()?.id;
    accounts.limits.guest(from, &tally).await?;
    let field = presented.field();
    let Vouched { external_id, .. } = match presented {
        Presented::InitData(init_data) => accounts.telegram_user(&init_data).await?,
        Presented::Token(token) => {
            let vouched = accounts
                .gate
                .auth
                .vouched(&token, accounts.gate.clock.now())
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
        LinkOutcome::Taken => Err(Failure::field(
            field,
            "is another player's already; sign in with it",
        )),
        LinkOutcome::HasAnother => Err(Failure::field(
            field,
            "cannot be added: this player has an identity already",
        )),
        LinkOutcome::Missing => Err(Error::NotFound("There is no such player").into()),
    }
}

impl Accounts {
    /// Whom Telegram vouches for, once.
    async fn telegram_user(&self, init_data: &str) -> Result<Vouched, Failure> {
        let auth = &self.gate.auth;
        if !auth.telegram_welcome() {
            return Err(Error::Forbidden("Users of Telegram cannot sign in here").into());
        }
        let user = auth
            .telegram_user(init_data, self.gate.clock.now())
            .ok_or(NOT_VALID)?;
        if !self.store.consume_proof(user.proof, user.remember).await? {
            return Err(NOT_VALID.into());
        }
        Ok(user.vouched)
    }
}

impl<S: Send + Sync> FromRequest<S> for Presented {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Presented, Failure> {
        if let Some(value) = request.headers().get(INIT_DATA) {
            let text = value
                .to_str()
                .map_err(|_| Failure::malformed("X-Telegram-Init-Data is not text"))?;
            return Ok(Presented::InitData(text.to_owned()));
        }
        let body = Body::from_request(request, state).await?;
        body.read(|fields| {
            let (token, init_data) = (
                fields.optional_text("token")?,
                fields.optional_text("init_data")?,
            );
            match (token, init_data) {
                (Some(token), None) => Some(Presented::Token(token)),
                (None, Some(init_data)) => Some(Presented::InitData(init_data)),
                _ => {
                    fields.fault("init_data", "or token is required, one of them");
                    None
                }
            }
        })
    }
}
