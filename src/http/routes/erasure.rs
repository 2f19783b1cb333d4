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
use crate::http::audited::Accountable;
use crate::http::authentication::Gate;
use crate::http::error_response::Failure;
use crate::http::routes::admin::PlayerPath;
use crate::http::routes::host_app::NO_PLAYER;
use crate::raid::erasure;
use crate::store::Store;

#[derive(Clone)]
pub(in crate::http) struct Erasing {
    pub(in crate::http) gate: Gate,
    pub(in crate::http) store: Arc<dyn Store>,
    /// Wakes whoever goes through the raids.
    pub(in crate::http) closed: Arc<Notify>,
}

pub(in crate::http) fn routes(erasing: Erasing) -> Router {
    Router::new()
        .route("/api/v1/me", delete(me))
        .route("/api/v1/players/{id}", delete(player))
        .with_state(erasing)
}

type Answer = Result<(StatusCode, Json<Data<Erased>>), Failure>;

async fn me(State(erasing): State<Erasing>, by: Accountable) -> Answer {
    let player = match by.signed.0.scope {
        Scope::Player => by.signed.player()?.id,
        Scope::Service | Scope::Admin => {
            return Err(Error::Forbidden("Only a player may do this").into());
        }
    };
    erasing.erase(player, &by).await
}

async fn player(
    State(erasing): State<Erasing>,
    by: Accountable,
    PlayerPath(player): PlayerPath,
) -> Answer {
    match by.signed.0.scope {
        Scope::Service | Scope::Admin => erasing.erase(player, &by).await,
        Scope::Player => {
            Err(Error::Forbidden("Only the host app's backend and operators may do this").into())
        }
    }
}

impl Erasing {
    async fn erase(&self, player: PlayerId, by: &Accountable) -> Answer {
        let deed = by.deed("erase", format!("player {player}"), json!({}));
        if !self
            .store
            .begin_erasure(player, erasure::ERASED_TEXT, &deed)
            .await?
        {
            return Err(NO_PLAYER.into());
        }
        self.gate.auth.look_again();
        self.closed.notify_one();
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

impl FromRef<Erasing> for Gate {
    fn from_ref(erasing: &Erasing) -> Gate {
        erasing.gate.clone()
    }
}
