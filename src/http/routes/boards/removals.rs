//! Removals of scores from leaderboards by operators.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use raidhall_protocol::admin::ScoreRemoval;
use raidhall_protocol::rest::Data;
use serde_json::json;

use super::{WindowChoice, existing_window};
use crate::error::Error;
use crate::http::AppState;
use crate::http::error_response::{BOARD_NOT_FOUND, ErrorResponse};
use crate::http::extract::{Audited, BoardScorePath, JsonBody, Operator, parse_text};
use crate::http::routes::admin::parse_reason;
use crate::progression::BoardWindowId;

const SCORE_NOT_FOUND: Error = Error::NotFound("The player has no score in this window");

pub(super) async fn remove(
    State(app): State<Arc<AppState>>,
    Operator(caller): Operator,
    path: BoardScorePath,
    body: JsonBody,
) -> Result<Json<Data<ScoreRemoval>>, ErrorResponse> {
    set_removed(&app, &caller, path, &body, true).await
}

pub(super) async fn restore(
    State(app): State<Arc<AppState>>,
    Operator(caller): Operator,
    path: BoardScorePath,
    body: JsonBody,
) -> Result<Json<Data<ScoreRemoval>>, ErrorResponse> {
    set_removed(&app, &caller, path, &body, false).await
}

async fn set_removed(
    app: &AppState,
    caller: &Audited,
    BoardScorePath { board: id, player }: BoardScorePath,
    body: &JsonBody,
    removed: bool,
) -> Result<Json<Data<ScoreRemoval>>, ErrorResponse> {
    let (reason, number) = body.read(|fields| {
        let text = fields.text("reason");
        let number = fields.optional_integer("number");
        let reason = parse_text(fields, "reason", &text?, parse_reason);
        Some((reason?, number?))
    })?;
    let definitions = app.streams.definitions().await?;
    let board = definitions.board(&id).ok_or(BOARD_NOT_FOUND)?;
    let choice = number.map_or(WindowChoice::Current, WindowChoice::Number);
    let number = existing_window(board, &choice, app.clock.now())?;
    let action = if removed {
        "remove_score"
    } else {
        "restore_score"
    };
    let entry = caller.audit_entry(
        action,
        format!("player {player}"),
        json!({ "reason": reason, "board": id, "number": number }),
    );
    let window = BoardWindowId { board: id, number };
    let set = app.store.set_removed(&window, player, removed, &entry);
    if !set.await? {
        return Err(SCORE_NOT_FOUND.into());
    }
    Ok(Json(Data {
        data: ScoreRemoval {
            board: window.board,
            number,
            player,
            removed,
        },
    }))
}
