//! `/raids`: making one, joining one, looking at one and at all of one's own.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts, Path, State};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use raidhall_protocol::rest::{Data, NewRaid, Page, RaidSummary, RaidView};
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, RaidId};
use serde_json::json;

use super::{commands, ledger};
use crate::auth::Scope;
use crate::error::Error;
use crate::http::audited::Accountable;
use crate::http::authentication::{Gate, Signed};
use crate::http::body::Body;
use crate::http::error_response::Failure;
use crate::http::limits::Limits;
use crate::http::query::{Query, cursor};
use crate::http::rate_limit_headers::Tally;
use crate::http::routes::host_app::NO_PLAYER;
use crate::http::{API, idempotency};
use crate::net::client_address::ClientAddress;
use crate::raid;
use crate::session::{Sessions, View};
use crate::store::{OpHash, RaidRow, Store};

/// What the doors to raids share.
#[derive(Clone)]
pub(in crate::http) struct Raids {
    pub(in crate::http) gate: Gate,
    pub(in crate::http) store: Arc<dyn Store>,
    pub(in crate::http) sessions: Sessions,
    pub(in crate::http) limits: Arc<Limits>,
    pub(in crate::http) ws_url: Arc<str>,
}

pub(in crate::http) fn routes(raids: Raids) -> Router {
    Router::new()
        .route("/api/v1/raids", post(create).get(list))
        .route("/api/v1/raids/join", post(join))
        .route("/api/v1/raids/{id}", get(show))
        .route("/api/v1/raids/{id}/commands", post(commands::carry_out))
        .route("/api/v1/raids/{id}/events", get(ledger::events))
        .route(
            "/api/v1/raids/{id}/contributions",
            get(ledger::contributions),
        )
        .with_state(raids)
}

pub(in crate::http) type Shown = Json<Data<RaidView>>;

async fn create(
    State(raids): State<Raids>,
    by: Accountable,
    tally: Tally,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, [(HeaderName, String); 1], Shown), Failure> {
    let key = idempotency::key(&headers).map_err(|fault| Failure::invalid(vec![fault]))?;
    let new = NewRaid::read(&body.0).map_err(Failure::invalid)?;
    let leader = raids.leader(&by, &body, &tally).await?;
    let key = key.map(|key| OpHash::new(&by.signed.0.subject, &key));
    let raid = raids.sessions.create(leader, new, key).await?;
    let location = [(LOCATION, format!("{API}/raids/{raid}"))];
    Ok((
        StatusCode::CREATED,
        location,
        raids.show(raid, &by.signed).await?,
    ))
}

async fn join(
    State(raids): State<Raids>,
    signed: Signed,
    from: ClientAddress,
    tally: Tally,
    body: Body,
) -> Result<Shown, Failure> {
    let player = signed.acting()?;
    let code = body.read(|fields| fields.text("invite_code"))?;
    let guess = raids.limits.guess(player.id, from, &tally).await?;
    let code = code.trim().to_ascii_uppercase();
    let found = match code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => raids.store.raid_by_invite(&code).await,
        false => Ok(None), // nobody's, and nothing to ask the database
    };
    if !matches!(found, Ok(None)) {
        guess.forgive().await;
    }
    let raid = found?.ok_or(Error::NotFound("No raid has this invite code"))?;
    raids
        .sessions
        .execute(
            raid,
            raid::RaidCommand::Join {
                player: player.clone(),
            },
            None,
        )
        .await?;
    raids.show(raid, &signed).await
}

async fn show(
    State(raids): State<Raids>,
    signed: Signed,
    RaidPath(raid): RaidPath,
) -> Result<Shown, Failure> {
    raids.show(raid, &signed).await
}

async fn list(
    State(raids): State<Raids>,
    signed: Signed,
    query: Query,
) -> Result<Json<Page<RaidSummary>>, Failure> {
    page_of(&*raids.store, signed.player()?.id, query).await
}

/// A page of the raids that a player is a member of, newest first.
pub(in crate::http) async fn page_of(
    store: &dyn Store,
    player: PlayerId,
    mut query: Query,
) -> Result<Json<Page<RaidSummary>>, Failure> {
    let (status, limit, before) = (query.status(), query.limit(), query.cursor());
    query.finish()?;
    // One more than asked for tells whether there is another page.
    let mut rows = store
        .raids_by_member(player, status, before, limit + 1)
        .await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next_cursor = rows.last().filter(|_| more).map(|row| cursor(row.id));
    Ok(Json(Page {
        data: rows.into_iter().map(summary).collect(),
        next_cursor,
    }))
}

impl Raids {
    /// Who is to lead a new raid: the caller, or whom the host app's backend names.
    async fn leader(
        &self,
        by: &Accountable,
        body: &Body,
        tally: &Tally,
    ) -> Result<PlayerRef, Failure> {
        let named = body.0.get("leader").is_some_and(|leader| !leader.is_null());
        if !named {
            let leader = by.signed.acting()?;
            self.limits.command(leader.id, tally).await?;
            return Ok(leader.clone());
        }
        if by.signed.0.scope != Scope::Service {
            return Err(Error::Forbidden("Only the host app's backend may name a leader").into());
        }
        let id = body.read(|fields| fields.id("leader"))?;
        let leader = self.player(id).await?.ok_or(NO_PLAYER)?;
        by.record(
            &*self.store,
            "create_raid",
            format!("player {id}"),
            json!({}),
        )
        .await?;
        Ok(leader)
    }

    /// The raid as the caller sees it.
    pub(in crate::http) async fn show(
        &self,
        raid: RaidId,
        signed: &Signed,
    ) -> Result<Shown, Failure> {
        let View {
            state,
            seq,
            online,
            ws_url,
        } = self.sessions.read(raid, signed.0.caller()).await?;
        let ws_url = ws_url.unwrap_or_else(|| self.ws_url.to_string());
        Ok(Json(Data {
            data: RaidView {
                state: Arc::unwrap_or_clone(state),
                seq,
                online,
                ws_url,
            },
        }))
    }
}

pub(in crate::http) fn summary(row: RaidRow) -> RaidSummary {
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
    }
}

/// The raid in a path. What is no id names no raid.
pub(crate) struct RaidPath(pub(crate) RaidId);

impl<S: Send + Sync> FromRequestParts<S> for RaidPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<RaidPath, Failure> {
        let id = Path::<String>::from_request_parts(parts, state).await.ok();
        let id = id.and_then(|Path(id)| RaidId::try_from(id.parse::<u64>().ok()?).ok());
        id.map(RaidPath)
            .ok_or_else(|| Error::NotFound("There is no such raid").into())
    }
}

impl FromRef<Raids> for Gate {
    fn from_ref(raids: &Raids) -> Gate {
        raids.gate.clone()
    }
}
