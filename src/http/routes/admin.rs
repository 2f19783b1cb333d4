//! `/admin`: what operators look up and do. Everything they do is on record.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, Path, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::routing::{get, post};
use axum::{Json, Router};
use raidhall_protocol::admin::{AuditEntry, Ban, Disconnected, InstanceView, PlayerView, Standing};
use raidhall_protocol::limits::REASON_CHARS_MAX;
use raidhall_protocol::rest::{CommandResult, Data, Page, RaidSummary};
use raidhall_protocol::{PlayerId, RaidId};
use serde_json::json;

use crate::error::Error;
use crate::http::audited::Operator;
use crate::http::authentication::Gate;
use crate::http::body::Body;
use crate::http::error_response::Failure;
use crate::http::idempotency;
use crate::http::query::Query;
use crate::http::routes::raids::{RaidPath, page_of, summary};
use crate::raid;
use crate::session::{Ack, Sessions};
use crate::store::audit::AuditRow;
use crate::store::{self, InstanceRow, OpHash, PlayerLookup, PlayerRow, RaidLookup, Store};

const NO_PLAYER: Error = Error::NotFound("There is no such player");

/// What the operators' doors share.
#[derive(Clone)]
pub(in crate::http) struct Admin {
    pub(in crate::http) gate: Gate,
    pub(in crate::http) store: Arc<dyn Store>,
    pub(in crate::http) sessions: Sessions,
}

pub(in crate::http) fn routes(admin: Admin) -> Router {
    Router::new()
        .route("/api/v1/admin/players", get(players))
        .route("/api/v1/admin/players/{id}/ban", post(ban).delete(unban))
        .route("/api/v1/admin/players/{id}/disconnect", post(disconnect))
        .route("/api/v1/admin/players/{id}/raids", get(raids_of))
        .route("/api/v1/admin/bans", get(bans))
        .route("/api/v1/admin/raids", get(raids))
        .route("/api/v1/admin/raids/{id}/end", post(end))
        .route("/api/v1/admin/instances", get(instances))
        .route("/api/v1/admin/audit", get(audit))
        .with_state(admin)
}

async fn ban(
    State(admin): State<Admin>,
    Operator(by): Operator,
    PlayerPath(player): PlayerPath,
    body: Body,
) -> Result<Json<Data<Standing>>, Failure> {
    let reason = body.read(|fields| {
        let text = fields.text("reason")?;
        reason(&text)
            .map_err(|must| fields.fault("reason", must))
            .ok()
    })?;
    let deed = by.deed(
        "ban",
        format!("player {player}"),
        json!({ "reason": reason }),
    );
    if !admin.store.ban(player, &reason, &deed).await? {
        return Err(NO_PLAYER.into());
    }
    admin.gate.auth.look_again();
    Ok(Json(Data {
        data: Standing {
            player,
            banned: true,
        },
    }))
}

async fn unban(
    State(admin): State<Admin>,
    Operator(by): Operator,
    PlayerPath(player): PlayerPath,
) -> Result<Json<Data<Standing>>, Failure> {
    let deed = by.deed("unban", format!("player {player}"), json!({}));
    if !admin.store.unban(player, &deed).await? {
        return Err(Error::NotFound("This player is not banned").into());
    }
    admin.gate.auth.look_again();
    Ok(Json(Data {
        data: Standing {
            player,
            banned: false,
        },
    }))
}

async fn disconnect(
    State(admin): State<Admin>,
    Operator(by): Operator,
    PlayerPath(player): PlayerPath,
) -> Result<Json<Data<Disconnected>>, Failure> {
    let deed = by.deed("disconnect", format!("player {player}"), json!({}));
    if !admin.store.disconnect(player, &deed).await? {
        return Err(NO_PLAYER.into());
    }
    admin.gate.auth.look_again();
    Ok(Json(Data {
        data: Disconnected { player },
    }))
}

async fn bans(
    State(admin): State<Admin>,
    _operator: Operator,
    mut query: Query,
) -> Result<Json<Data<Vec<Ban>>>, Failure> {
    let (after, limit) = (query.after(), query.limit());
    query.finish()?;
    let after = PlayerId::try_from(after.0).ok();
    let rows = admin.store.bans(after, limit).await?;
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

async fn players(
    State(admin): State<Admin>,
    _operator: Operator,
    mut query: Query,
) -> Result<Json<Data<Vec<PlayerView>>>, Failure> {
    let (id, external_id, name) = (
        query.id("id"),
        query.text("external_id"),
        query.text("name"),
    );
    let limit = query.limit();
    query.finish()?;
    let lookup = match (
        id.and_then(|id| PlayerId::try_from(id).ok()),
        &external_id,
        &name,
    ) {
        (Some(id), ..) => PlayerLookup::Id(id),
        (None, Some(external_id), _) => PlayerLookup::ExternalId(external_id.clone()),
        (None, None, name) => PlayerLookup::Name(name.clone().unwrap_or_default()),
    };
    let mut rows = admin.store.find_players(&lookup, limit).await?;
    if !matches!(lookup, PlayerLookup::Name(_)) {
        rows.retain(|row| {
            external_id
                .as_ref()
                .is_none_or(|id| row.external_id.as_ref() == Some(id))
                && name
                    .as_ref()
                    .is_none_or(|name| begins(&row.profile.name, name))
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

async fn raids(
    State(admin): State<Admin>,
    _operator: Operator,
    mut query: Query,
) -> Result<Json<Data<Vec<RaidSummary>>>, Failure> {
    let (id, code, title) = (
        query.id("id"),
        query.text("invite_code"),
        query.text("title"),
    );
    let limit = query.limit();
    query.finish()?;
    let code = code.map(|code| code.trim().to_ascii_uppercase());
    let id = match (id.and_then(|id| RaidId::try_from(id).ok()), &code) {
        (None, Some(code)) => match admin.store.raid_by_invite(code).await? {
            Some(id) => Some(id),
            None => return Ok(Json(Data { data: Vec::new() })),
        },
        (id, _) => id,
    };
    let lookup = id.map_or_else(
        || RaidLookup::Title(title.clone().unwrap_or_default()),
        RaidLookup::Id,
    );
    let mut rows = admin.store.find_raids(&lookup, limit).await?;
    if !matches!(lookup, RaidLookup::Title(_)) {
        rows.retain(|row| {
            code.as_ref().is_none_or(|code| row.invite_code == *code)
                && title.as_ref().is_none_or(|title| begins(&row.title, title))
        });
    }
    Ok(Json(Data {
        data: rows.into_iter().map(summary).collect(),
    }))
}

/// The raids that a player is a member of, newest first.
async fn raids_of(
    State(admin): State<Admin>,
    _operator: Operator,
    PlayerPath(player): PlayerPath,
    query: Query,
) -> Result<Json<Page<RaidSummary>>, Failure> {
    page_of(&*admin.store, player, query).await
}

async fn end(
    State(admin): State<Admin>,
    Operator(by): Operator,
    RaidPath(raid): RaidPath,
    headers: HeaderMap,
) -> Result<Json<Data<CommandResult>>, Failure> {
    let key = idempotency::key(&headers).map_err(|fault| Failure::invalid(vec![fault]))?;
    let op = key.map(|key| OpHash::new(&by.signed.0.subject, &key));
    by.record(&*admin.store, "end_raid", format!("raid {raid}"), json!({}))
        .await?;
    let Ack { seq, duplicate } = admin
        .sessions
        .execute(raid, raid::RaidCommand::End, op)
        .await?;
    Ok(Json(Data {
        data: CommandResult { seq, duplicate },
    }))
}

async fn instances(
    State(admin): State<Admin>,
    _operator: Operator,
) -> Result<Json<Data<Vec<InstanceView>>>, Failure> {
    let rows = admin.store.instances().await?;
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

async fn audit(
    State(admin): State<Admin>,
    _operator: Operator,
    mut query: Query,
) -> Result<Json<Data<Vec<AuditEntry>>>, Failure> {
    let (after, limit) = (query.after(), query.limit());
    query.finish()?;
    let rows = admin.store.audit_entries(after.0, limit).await?;
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

/// How the database compares: without case.
fn begins(text: &str, beginning: &str) -> bool {
    text.to_lowercase().starts_with(&beginning.to_lowercase())
}

fn reason(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if !(1..=REASON_CHARS_MAX).contains(&text.chars().count()) {
        return Err("must have 1 to 500 characters");
    }
    if text.chars().any(char::is_control) {
        return Err("must not hold control characters");
    }
    Ok(text.to_owned())
}

/// The player in a path. What is no id names no player.
pub(in crate::http) struct PlayerPath(pub(crate) PlayerId);

impl<S: Send + Sync> FromRequestParts<S> for PlayerPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PlayerPath, Failure> {
        let id = Path::<String>::from_request_parts(parts, state).await.ok();
        let id = id.and_then(|Path(id)| PlayerId::try_from(id.parse::<u64>().ok()?).ok());
        id.map(PlayerPath).ok_or_else(|| NO_PLAYER.into())
    }
}

impl FromRef<Admin> for Gate {
    fn from_ref(admin: &Admin) -> Gate {
        admin.gate.clone()
    }
}
