//! `/progression`, `/players/{id}/profile` and `/players?ids=`: what clients show of progression and
//! of other players.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use raidhall_protocol::PlayerId;
use raidhall_protocol::player::state::UnlockedAchievement;
use raidhall_protocol::progression::Progression;
use raidhall_protocol::rest::{Badge, Data, PlayerProfile};

use crate::auth::Scope;
use crate::http::AppState;
use crate::http::error_response::{ErrorResponse, PLAYER_NOT_FOUND};
use crate::http::extract::{Authenticated, PlayerPath, Query, RowCharge};
use crate::http::rate_limit_headers::RateLimitHeaders;
use crate::net::client_address::ClientAddress;
use crate::player::{PlayerFold, ProfileViewer, is_profile_shown};

pub(in crate::http) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/api/v1/progression", get(show_progression))
        .route("/api/v1/players", get(list_profiles))
        .route("/api/v1/players/{id}/profile", get(show_profile))
}

/// Returns the definitions that are in force, or those of a few seconds ago.
async fn show_progression(
    State(app): State<Arc<AppState>>,
    address: ClientAddress,
    limit_headers: RateLimitHeaders,
) -> Result<Json<Data<Progression>>, ErrorResponse> {
    app.rate_limits
        .charge_visitor(address, &limit_headers)
        .await?;
    let data = app.streams.definitions().await?.shown();
    Ok(Json(Data { data }))
}

/// Returns a profile. If it is not shown to the caller, the answer is the one for no such player.
async fn show_profile(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
    PlayerPath(player): PlayerPath,
) -> Result<Json<Data<PlayerProfile>>, ErrorResponse> {
    let mut profiles = shown_profiles(&app, &caller, &[player]).await?;
    let data = profiles.pop().ok_or(PLAYER_NOT_FOUND)?;
    Ok(Json(Data { data }))
}

async fn list_profiles(
    State(app): State<Arc<AppState>>,
    caller: Authenticated,
    charge: RowCharge,
    mut query: Query,
) -> Result<Json<Data<Vec<PlayerProfile>>>, ErrorResponse> {
    let players = query.ids();
    query.finish()?;
    let rows = u32::try_from(players.len()).unwrap_or(u32::MAX);
    charge.apply(&app, &caller, rows).await?;
    let data = shown_profiles(&app, &caller, &players).await?;
    Ok(Json(Data { data }))
}

/// Returns those of the players' profiles that are shown to the caller, in the same order.
async fn shown_profiles(
    app: &AppState,
    caller: &Authenticated,
    players: &[PlayerId],
) -> Result<Vec<PlayerProfile>, ErrorResponse> {
    let viewer = match caller.0.scope {
        Scope::Player => Some(caller.player()?.id),
        Scope::Service | Scope::Admin => None,
    };
    let read: Vec<_> = players.iter().copied().chain(viewer).collect();
    let folds = app.streams.read_many(&read).await?;
    let viewer = match viewer.map(|id| folds.get(&id)) {
        Some(Some(fold)) => ProfileViewer::Player(fold),
        Some(None) => return Ok(Vec::new()), // erased meanwhile
        None => ProfileViewer::Privileged,
    };
    let now = app.clock.now();
    let found = players.iter().filter_map(|player| folds.get(player));
    let shown = found.filter(|fold| is_profile_shown(fold, viewer, now));
    Ok(shown.map(profile).collect())
}

fn profile(fold: &PlayerFold) -> PlayerProfile {
    let state = &fold.state;
    let badge = |unlocked: &UnlockedAchievement| Badge {
        id: unlocked.id.clone(),
        tier: unlocked.tier,
    };
    PlayerProfile {
        id: state.id,
        name: state.name.clone(),
        level: state.level,
        raids_won: state.raids_won,
        badges: state.achievements.iter().map(badge).collect(),
        streak_days: state.streak.days,
        frame: state.equipped.get("frame").cloned(),
    }
}
