//! `/me/state`, `/me/events`, `/me/commands` and `/players/{id}/commands`: players' streams.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use raidhall_protocol::limits::ITEM_CHARS_MAX;
use raidhall_protocol::player::{PlayerCommand, PlayerEvent};
use raidhall_protocol::rest::{CommandResult, Data, PlayerStateAt};
use serde_json::{Value, json};

use crate::auth::Scope;
use crate::error::Error;
use crate::http::AppState;
use crate::http::error_response::ErrorResponse;
use crate::http::extract::{
    Audited, Authenticated, IdempotencyKey, JsonBody, PlayerPath, Query, RowCharge,
};
use crate::http::routes::commands::{command_result, read_op};
use crate::player::Author;

pub(in crate::http) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/api/v1/me/state", get(read_state))
        .route("/api/v1/me/events", get(list_events))
        .route("/api/v1/me/commands", post(execute_command))
        .route("/api/v1/players/{id}/commands", post(execute_for_player))
}

async fn read_state(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
) -> Result<Json<Data<PlayerStateAt>>, ErrorResponse> {
    let fold = app.streams.read(caller.player()?.id).await?;
    let data = PlayerStateAt {
        seq: fold.seq,
        state: fold.state,
    };
    Ok(Json(Data { data }))
}

async fn list_events(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
    charge: RowCharge,
    mut query: Query,
) -> Result<Json<Data<Vec<PlayerEvent>>>, ErrorResponse> {
    let after = query.after();
    let limit = query.limit();
    query.finish()?;
    let player = caller.player()?.id;
    charge.apply(&app, &caller, limit).await?;
    let data = app.streams.events(player, after, limit).await?;
    Ok(Json(Data { data }))
}

async fn execute_command(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
    key: IdempotencyKey,
    body: JsonBody,
) -> Result<Json<Data<CommandResult>>, ErrorResponse> {
    let (op, command) = body.read(|fields| {
        let op = read_op(key, fields);
        let command = fields.nested("cmd", PlayerCommand::read);
        Some((op?, command?))
    })?;
    let player = caller.signed_in_player()?.id;
    let op = caller.op_hash(op);
    let executed = app.streams.execute(player, Author::Player, &command, op);
    Ok(command_result(executed.await?))
}

async fn execute_for_player(
    State(app): State<Arc<AppState>>,
    caller: Audited,
    PlayerPath(player): PlayerPath,
    body: JsonBody,
) -> Result<Json<Data<CommandResult>>, ErrorResponse> {
    let author = match caller.authenticated.0.scope {
        Scope::Service => Author::Service,
        Scope::Admin => Author::Operator,
        Scope::Player => {
            const REFUSAL: &str = "Only the host app's backend and operators may do this";
            return Err(Error::Forbidden(REFUSAL).into());
        }
    };
    let (op, command) = body.read(|fields| {
        let op = fields.op("op");
        let command = fields.nested("cmd", PlayerCommand::read);
        Some((op?, command?))
    })?;
    let details = audit_details(&command);
    caller
        .record(&*app.store, "command", format!("player {player}"), details)
        .await?;
    let op = caller.authenticated.op_hash(Some(op));
    let executed = app.streams.execute(player, author, &command, op);
    Ok(command_result(executed.await?))
}

/// Returns what the audit log says of a command. Texts are left out, because an erasure cannot remove
/// them from there.
fn audit_details(command: &PlayerCommand) -> Value {
    let kind = command.kind();
    match command {
        PlayerCommand::GrantXp { amount, .. } | PlayerCommand::GrantCoins { amount, .. } => {
            json!({"type": kind, "amount": amount})
        }
        PlayerCommand::Correct { field, amount, .. } => {
            json!({"type": kind, "field": field, "amount": amount})
        }
        PlayerCommand::GrantItem { item } => {
            // It is recorded before it is checked.
            let item: String = item.chars().take(ITEM_CHARS_MAX).collect();
            json!({"type": kind, "item": item})
        }
        _ => json!({"type": kind}),
    }
}
