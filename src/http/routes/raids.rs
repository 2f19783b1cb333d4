//! `/raids`: creating, joining and reading a raid, and listing the caller's raids. `/invites`: what an
//! invite code shows.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderName, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use raidhall_protocol::rest::{Data, InviteView, NewRaid, Page, RaidSummary, RaidView};
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{PlayerId, RaidId};
use serde_json::json;

use super::{commands, ledger};
use crate::auth::Scope;
use crate::error::Error;
use crate::http::error_response::{CODE_NOT_FOUND, ErrorResponse};
use crate::http::extract::{
    Audited, Authenticated, IdempotencyKey, InviteCodePath, JsonBody, Query, RaidPath, RowCharge,
    encode_raid_cursor,
};
use crate::http::rate_limit_headers::RateLimitHeaders;
use crate::http::rate_limits::GuessCharge;
use crate::http::{API, AppState};
use crate::net::client_address::ClientAddress;
use crate::raid;
use crate::session::{Caller, RaidCreator, RaidSnapshot};
use crate::store::{OpHash, RaidMembers, RaidRow, Store};

/// The most members that a summary names.
const SUMMARY_MEMBERS_MAX: u32 = 5;

pub(in crate::http) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/api/v1/raids", post(create).get(list))
        .route("/api/v1/raids/join", post(join))
        .route("/api/v1/invites/{code}", get(show_invite))
        .route("/api/v1/raids/{id}", get(show))
        .route(
            "/api/v1/raids/{id}/commands",
            post(commands::execute_command),
        )
        .route("/api/v1/raids/{id}/events", get(ledger::list_events))
        .route(
            "/api/v1/raids/{id}/contributions",
            get(ledger::list_contributions),
        )
}

pub(in crate::http) type RaidResponse = Json<Data<RaidView>>;

async fn create(
    State(app): State<Arc<AppState>>,
    caller: Audited,
    limit_headers: RateLimitHeaders,
    key: IdempotencyKey,
    body: JsonBody,
) -> Result<(StatusCode, [(HeaderName, String); 1], RaidResponse), ErrorResponse> {
    let key = key.validate()?;
    let new = NewRaid::read(&body.0).map_err(ErrorResponse::invalid)?;
    require_may_rank(&new, caller.authenticated.0.scope)?;
    let leader = resolve_leader(&app, &caller, &body).await?;
    match caller.authenticated.0.scope {
        Scope::Service => {
            let details = json!({ "ranked": new.ranked == Some(true) });
            let target = format!("player {}", leader.id);
            caller
                .record(&*app.store, "create_raid", target, details)
                .await?;
        }
        Scope::Player | Scope::Admin => {
            app.rate_limits.charge_command(leader.id, &limit_headers)?;
        }
    }
    let key = caller.authenticated.op_hash(key);
    require_space(&app, key).await?;
    let creator = match caller.authenticated.0.scope {
        Scope::Service => RaidCreator::Service,
        Scope::Player | Scope::Admin => RaidCreator::Leader,
    };
    let raid = app.sessions.create(leader, new, key, creator).await?;
    let location = [(LOCATION, format!("{API}/raids/{raid}"))];
    Ok((
        StatusCode::CREATED,
        location,
        raid_view(&app, raid, &caller.authenticated).await?,
    ))
}

/// Fails if anyone but the host app's backend asks for a ranked raid.
fn require_may_rank(new: &NewRaid, scope: Scope) -> Result<(), Error> {
    match (new.ranked, scope) {
        (Some(true), Scope::Player | Scope::Admin) => Err(Error::Forbidden(
            "Only the host app's backend may create a ranked raid",
        )),
        _ => Ok(()),
    }
}

/// Fails if the database's space is low. A request that repeats a successful creation needs no
/// space, and passes.
async fn require_space(app: &AppState, key: Option<OpHash>) -> Result<(), ErrorResponse> {
    let Err(space_low) = app.readiness.require_space() else {
        return Ok(());
    };
    let created = match key {
        Some(key) => app.store.raid_by_create_key(key).await?,
        None => None,
    };
    match created {
        Some(_) => Ok(()),
        None => Err(space_low.into()),
    }
}

async fn join(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
    address: ClientAddress,
    limit_headers: RateLimitHeaders,
    body: JsonBody,
) -> Result<RaidResponse, ErrorResponse> {
    let caller_id = caller.acting_player()?.id;
    let code = body.read(|fields| fields.text("invite_code"))?;
    let guess = app
        .rate_limits
        .charge_guess(Some(caller_id), address, &limit_headers)
        .await?;
    let raid = find_invited_raid(&app, &code, guess).await?;
    let player = app.unbanned_player(caller_id).await?;
    app.sessions
        .execute(raid, raid::RaidCommand::Join { player }, None)
        .await?;
    raid_view(&app, raid, &caller).await
}

/// Returns what an invite code shows to anyone: enough to decide whether to join, and no more than
/// joining shows.
async fn show_invite(
    State(app): State<Arc<AppState>>,
    address: ClientAddress,
    limit_headers: RateLimitHeaders,
    InviteCodePath(code): InviteCodePath,
) -> Result<Json<Data<InviteView>>, ErrorResponse> {
    app.rate_limits
        .charge_visitor(address, &limit_headers)
        .await?;
    let guess = app
        .rate_limits
        .charge_guess(None, address, &limit_headers)
        .await?;
    let raid = find_invited_raid(&app, &code, guess).await?;
    let state = app.sessions.read(raid, Caller::Service).await?.state;
    let host = state
        .members
        .iter()
        .find(|member| Some(member.player) == state.leader);
    Ok(Json(Data {
        data: InviteView {
            id: raid,
            title: state.title.clone(),
            host: host.map(|host| host.name.clone()),
            status: state.status,
            member_count: u32::try_from(state.members.len()).unwrap_or(u32::MAX),
            max_members: state.max_members,
            late_join: state.late_join,
            deadline: state
                .deadline
                .filter(|_| state.status == RaidStatus::Active),
        },
    }))
}

/// Returns the raid with an invite code, and refunds the guess if there is one.
async fn find_invited_raid(
    app: &AppState,
    code: &str,
    guess: GuessCharge<'_>,
) -> Result<RaidId, ErrorResponse> {
    let code = normalize_invite_code(code);
    let found = match code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => app.store.raid_by_invite(&code).await,
        false => Ok(None), // no raid's, and nothing to ask the database
    };
    if !matches!(found, Ok(None)) {
        guess.refund().await;
    }
    Ok(found?.ok_or(CODE_NOT_FOUND)?)
}

async fn show(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
    RaidPath(raid): RaidPath,
) -> Result<RaidResponse, ErrorResponse> {
    raid_view(&app, raid, &caller).await
}

async fn list(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
    charge: RowCharge,
    query: Query,
) -> Result<Json<Page<RaidSummary>>, ErrorResponse> {
    let player = caller.player()?.id;
    let query = RaidListQuery::read(query)?;
    charge.apply(&app, &caller, query.limit).await?;
    list_member_raids(&*app.store, player, query).await
}

/// The query of a list of raids.
pub(in crate::http) struct RaidListQuery {
    status: Option<RaidStatus>,
    limit: u32,
    /// The raid before which the page begins.
    before: Option<RaidId>,
}

impl RaidListQuery {
    /// Reads the parameters, and fails with all faults if there are any.
    pub(in crate::http) fn read(mut query: Query) -> Result<RaidListQuery, ErrorResponse> {
        let read = RaidListQuery {
            status: query.status(),
            limit: query.limit(),
            before: query.cursor(),
        };
        query.finish()?;
        Ok(read)
    }
}

/// Returns a page of the raids that a player is a member of, newest first.
pub(in crate::http) async fn list_member_raids(
    store: &dyn Store,
    player: PlayerId,
    query: RaidListQuery,
) -> Result<Json<Page<RaidSummary>>, ErrorResponse> {
    let RaidListQuery {
        status,
        limit,
        before,
    } = query;
    // One row beyond the limit shows that there is another page.
    let mut rows = store
        .raids_by_member(player, status, before, limit + 1)
        .await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next_cursor = rows
        .last()
        .filter(|_| more)
        .map(|row| encode_raid_cursor(row.id));
    Ok(Json(Page {
        data: raid_summaries(store, rows).await?,
        next_cursor,
    }))
}

/// Returns the leader of a new raid: the caller, or the player that the host app's backend names.
async fn resolve_leader(
    app: &AppState,
    caller: &Audited,
    body: &JsonBody,
) -> Result<PlayerRef, ErrorResponse> {
    let named = body.0.get("leader").is_some_and(|leader| !leader.is_null());
    if !named {
        return app
            .unbanned_player(caller.authenticated.acting_player()?.id)
            .await;
    }
    if caller.authenticated.0.scope != Scope::Service {
        return Err(Error::Forbidden("Only the host app's backend may name a leader").into());
    }
    let id = body.read(|fields| fields.id("leader"))?;
    app.unbanned_player(id).await
}

/// Returns the current state of a raid, if the caller may see it.
pub(in crate::http) async fn raid_view(
    app: &AppState,
    raid: RaidId,
    caller: &Authenticated,
) -> Result<RaidResponse, ErrorResponse> {
    let RaidSnapshot {
        state,
        seq,
        online,
        ws_url,
    } = app.sessions.read(raid, (&caller.0).into()).await?;
    let ws_url = ws_url.unwrap_or_else(|| app.ws_url.clone());
    Ok(Json(Data {
        data: RaidView {
            state: Arc::unwrap_or_clone(state),
            seq,
            online,
            ws_url,
        },
    }))
}

/// Returns an invite code as the store keeps it: trimmed and in upper case.
pub(in crate::http) fn normalize_invite_code(text: &str) -> String {
    text.trim().to_ascii_uppercase()
}

/// Returns the summaries of raids in the same order, with the members who joined first.
pub(in crate::http) async fn raid_summaries(
    store: &dyn Store,
    rows: Vec<RaidRow>,
) -> Result<Vec<RaidSummary>, ErrorResponse> {
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let members = store.raid_members(&ids, SUMMARY_MEMBERS_MAX).await?;
    let mut members: HashMap<_, _> = members
        .into_iter()
        .map(|members| (members.raid, members))
        .collect();
    let summaries = rows.into_iter().map(|row| {
        let members = members.remove(&row.id);
        raid_summary(row, members)
    });
    Ok(summaries.collect())
}

fn raid_summary(row: RaidRow, members: Option<RaidMembers>) -> RaidSummary {
    let RaidRow {
        id,
        title,
        invite_code,
        target_xp,
        target_tasks,
        time_limit_secs,
        created_at,
        header,
        last_seq,
    } = row;
    RaidSummary {
        id,
        title,
        invite_code,
        status: header.status,
        target_xp,
        target_tasks,
        current_xp: header.current_xp,
        current_tasks: header.current_tasks,
        time_limit_secs,
        created_at,
        deadline: header.deadline,
        ended_at: header.ended_at,
        seq: last_seq,
        member_count: members.as_ref().map_or(0, |members| members.count),
        members: members.map_or_else(Vec::new, |members| members.first),
    }
}
