//! `/admin`: the lookups and actions of operators. Every action is recorded in the audit log.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use raidhall_protocol::PlayerId;
use raidhall_protocol::admin::{AuditEntry, Ban, Disconnected, InstanceView, PlayerView, Standing};
use raidhall_protocol::limits::REASON_CHARS_MAX;
use raidhall_protocol::rest::{CommandResult, Data, Page, RaidSummary};
use raidhall_protocol::text;
use serde_json::json;

use crate::error::Error;
use crate::http::AppState;
use crate::http::error_response::{ErrorResponse, PLAYER_NOT_FOUND};
use crate::http::extract::{
    IdempotencyKey, JsonBody, Operator, PlayerPath, Query, RaidPath, parse_text,
};
use crate::http::routes::commands::command_result;
use crate::http::routes::raids::{
    RaidListQuery, list_member_raids, normalize_invite_code, raid_summaries,
};
use crate::raid;
use crate::store::audit::AuditRow;
use crate::store::{self, InstanceRow, PlayerLookup, PlayerRow, RaidLookup};

pub(in crate::http) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/api/v1/admin/players", get(find_players))
        .route("/api/v1/admin/players/{id}/ban", post(ban).delete(unban))
        .route("/api/v1/admin/players/{id}/disconnect", post(disconnect))
        .route("/api/v1/admin/players/{id}/raids", get(list_player_raids))
        .route("/api/v1/admin/bans", get(list_bans))
        .route("/api/v1/admin/raids", get(find_raids))
        .route("/api/v1/admin/raids/{id}/end", post(end_raid))
        .route("/api/v1/admin/instances", get(list_instances))
        .route("/api/v1/admin/audit", get(list_audit_entries))
}

async fn ban(
    State(app): State<Arc<AppState>>,
    Operator(caller): Operator,
    PlayerPath(player): PlayerPath,
    body: JsonBody,
) -> Result<Json<Data<Standing>>, ErrorResponse> {
    let reason = body.read(|fields| {
        let text = fields.text("reason")?;
        parse_text(fields, "reason", &text, parse_reason)
    })?;
    let entry = caller.audit_entry(
        "ban",
        format!("player {player}"),
        json!({ "reason": reason }),
    );
    if !app.store.ban(player, &reason, &entry).await? {
        return Err(PLAYER_NOT_FOUND.into());
    }
    app.auth.request_revocation_poll();
    Ok(Json(Data {
        data: Standing {
            player,
            banned: true,
        },
    }))
}

async fn unban(
    State(app): State<Arc<AppState>>,
    Operator(caller): Operator,
    PlayerPath(player): PlayerPath,
) -> Result<Json<Data<Standing>>, ErrorResponse> {
    let entry = caller.audit_entry("unban", format!("player {player}"), json!({}));
    if !app.store.unban(player, &entry).await? {
        return Err(Error::NotFound("This player is not banned").into());
    }
    app.auth.request_revocation_poll();
    Ok(Json(Data {
        data: Standing {
            player,
            banned: false,
        },
    }))
}

async fn disconnect(
    State(app): State<Arc<AppState>>,
    Operator(caller): Operator,
    PlayerPath(player): PlayerPath,
) -> Result<Json<Data<Disconnected>>, ErrorResponse> {
    let entry = caller.audit_entry("disconnect", format!("player {player}"), json!({}));
    if !app.store.disconnect(player, &entry).await? {
        return Err(PLAYER_NOT_FOUND.into());
    }
    app.auth.request_revocation_poll();
    Ok(Json(Data {
        data: Disconnected { player },
    }))
}

async fn list_bans(
    State(app): State<Arc<AppState>>,
    _operator: Operator,
    mut query: Query,
) -> Result<Json<Data<Vec<Ban>>>, ErrorResponse> {
    let after = query.after();
    let limit = query.limit();
    query.finish()?;
    let after = PlayerId::try_from(after.0).ok();
    let rows = app.store.bans(after, limit).await?;
    let shown = |store::BanRow {
                     player,
                     reason,
                     by,
                     at,
                 }| Ban {
        player,
        reason,
        by,
        at,
    };
    Ok(Json(Data {
        data: rows.into_iter().map(shown).collect(),
    }))
}

async fn find_players(
    State(app): State<Arc<AppState>>,
    _operator: Operator,
    mut query: Query,
) -> Result<Json<Data<Vec<PlayerView>>>, ErrorResponse> {
    let id = query.id("id");
    let external_id = query.text("external_id");
    let name = query.text("name");
    let limit = query.limit();
    query.finish()?;
    let lookup = match (id, &external_id, &name) {
        (Some(id), ..) => PlayerLookup::Id(id),
        (None, Some(external_id), _) => PlayerLookup::ExternalId(external_id.clone()),
        (None, None, name) => PlayerLookup::Name(name.clone().unwrap_or_default()),
    };
    let mut rows = app.store.find_players(&lookup, limit).await?;
    if !matches!(lookup, PlayerLookup::Name(_)) {
        rows.retain(|row| {
            external_id
                .as_ref()
                .is_none_or(|id| row.external_id.as_ref() == Some(id))
                && name
                    .as_ref()
                    .is_none_or(|name| starts_with_ignoring_case(&row.profile.name, name))
        });
    }
    let shown = |PlayerRow {
                     profile,
                     external_id,
                     ban,
                 }| PlayerView {
        profile,
        external_id,
        ban,
    };
    Ok(Json(Data {
        data: rows.into_iter().map(shown).collect(),
    }))
}

async fn find_raids(
    State(app): State<Arc<AppState>>,
    _operator: Operator,
    mut query: Query,
) -> Result<Json<Data<Vec<RaidSummary>>>, ErrorResponse> {
    let id = query.id("id");
    let code = query.text("invite_code");
    let title = query.text("title");
    let limit = query.limit();
    query.finish()?;
    let code = code.map(|code| normalize_invite_code(&code));
    let id = match (id, &code) {
        (None, Some(code)) => match app.store.raid_by_invite(code).await? {
            Some(id) => Some(id),
            None => return Ok(Json(Data { data: Vec::new() })),
        },
        (id, _) => id,
    };
    let lookup = id.map_or_else(
        || RaidLookup::Title(title.clone().unwrap_or_default()),
        RaidLookup::Id,
    );
    let mut rows = app.store.find_raids(&lookup, limit).await?;
    if !matches!(lookup, RaidLookup::Title(_)) {
        rows.retain(|row| {
            code.as_ref().is_none_or(|code| row.invite_code == *code)
                && title
                    .as_ref()
                    .is_none_or(|title| starts_with_ignoring_case(&row.title, title))
        });
    }
    Ok(Json(Data {
        data: raid_summaries(&*app.store, rows).await?,
    }))
}

/// Lists the raids that a player is a member of, newest first.
async fn list_player_raids(
    State(app): State<Arc<AppState>>,
    _operator: Operator,
    PlayerPath(player): PlayerPath,
    query: Query,
) -> Result<Json<Page<RaidSummary>>, ErrorResponse> {
    list_member_raids(&*app.store, player, RaidListQuery::read(query)?).await
}

async fn end_raid(
    State(app): State<Arc<AppState>>,
    Operator(caller): Operator,
    RaidPath(raid): RaidPath,
    key: IdempotencyKey,
) -> Result<Json<Data<CommandResult>>, ErrorResponse> {
    let key = key.validate()?;
    let op = caller.authenticated.op_hash(key);
    caller
        .record(&*app.store, "end_raid", format!("raid {raid}"), json!({}))
        .await?;
    let ack = app
        .sessions
        .execute(raid, raid::RaidCommand::End, op)
        .await?;
    Ok(command_result(ack))
}

async fn list_instances(
    State(app): State<Arc<AppState>>,
    _operator: Operator,
) -> Result<Json<Data<Vec<InstanceView>>>, ErrorResponse> {
    let rows = app.store.instances().await?;
    let shown = |InstanceRow {
                     id,
                     ws_url,
                     release,
                     draining,
                     lease_until,
                 }| InstanceView {
        id: id.0.to_string(),
        ws_url,
        release,
        draining,
        lease_until,
    };
    Ok(Json(Data {
        data: rows.into_iter().map(shown).collect(),
    }))
}

async fn list_audit_entries(
    State(app): State<Arc<AppState>>,
    _operator: Operator,
    mut query: Query,
) -> Result<Json<Data<Vec<AuditEntry>>>, ErrorResponse> {
    let after = query.after();
    let limit = query.limit();
    query.finish()?;
    let rows = app.store.audit_entries(after.0, limit).await?;
    let shown = |AuditRow {
                     id,
                     at,
                     actor,
                     action,
                     target,
                     request_id,
                     details,
                 }| AuditEntry {
        id,
        at,
        actor,
        action,
        target,
        request_id,
        details,
    };
    Ok(Json(Data {
        data: rows.into_iter().map(shown).collect(),
    }))
}

/// Compares as the database does, ignoring case.
fn starts_with_ignoring_case(text: &str, beginning: &str) -> bool {
    text.to_lowercase().starts_with(&beginning.to_lowercase())
}

pub(super) fn parse_reason(text: &str) -> Result<&str, &'static str> {
    let text = text.trim();
    if !(1..=REASON_CHARS_MAX).contains(&text.chars().count()) {
        return Err("must have 1 to 500 characters");
    }
    text::check_text(text).map(|()| text)
}
