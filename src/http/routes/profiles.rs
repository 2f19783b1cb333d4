//! `/progression`, `/players/{id}/profile` and `/players?ids=`: what clients show of progression and
//! of other players.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use raidhall_protocol::player::state::UnlockedAchievement;
use raidhall_protocol::progression::Progression;
use raidhall_protocol::rest::{Badge, Data, PlayerProfile};
use raidhall_protocol::{PlayerId, UnixMillis};

use crate::auth::Scope;
use crate::http::AppState;
use crate::http::error_response::{ErrorResponse, PLAYER_NOT_FOUND};
use crate::http::extract::{Authenticated, PlayerPath, Query, ROWS_PER_PROFILE, RowCharge};
use crate::http::rate_limit_headers::RateLimitHeaders;
use crate::net::client_address::ClientAddress;
use crate::player::{PlayerFold, ProfileViewer, is_profile_shown};
use crate::progression::BoardWindowId;

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
    let profiles = u32::try_from(players.len()).unwrap_or(u32::MAX);
    let rows = profiles.saturating_mul(ROWS_PER_PROFILE);
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
        Scope::Player => Some(app.streams.read(caller.player()?.id).await?),
        Scope::Service | Scope::Admin => None,
    };
    let viewer = match &viewer {
        Some(fold) => ProfileViewer::Player(fold),
        None => ProfileViewer::Privileged,
    };
    let folds = app.streams.read_many(players).await?;
    let now = app.clock.now();
    let is_shown =
        |fold: &PlayerFold, is_on_board| is_profile_shown(fold, viewer, is_on_board, now);
    let hidden = folds.values().filter(|fold| !is_shown(fold, false));
    let hidden: Vec<_> = hidden.map(|fold| fold.state.id).collect();
    let listed = listed_players(app, &hidden, now).await?;
    let found = players.iter().filter_map(|player| folds.get(player));
    let shown = found.filter(|fold| is_shown(fold, listed.contains(&fold.state.id)));
    Ok(shown.map(|fold| profile(fold, now)).collect())
}

/// Returns those of the players who are listed on a leaderboard, in a window that is open.
async fn listed_players(
    app: &AppState,
    players: &[PlayerId],
    now: UnixMillis,
) -> Result<HashSet<PlayerId>, ErrorResponse> {
    let mut listed = HashSet::new();
    if players.is_empty() {
        return Ok(listed);
    }
    for board in &app.streams.definitions().await?.boards {
        let window = BoardWindowId {
            board: board.shown.id.clone(),
            number: board.number_at(now),
        };
        let scores = app.store.scores_in_window(&window, players).await?;
        let shown = scores.iter().filter(|score| score.is_listed);
        listed.extend(shown.map(|score| score.position.player));
    }
    Ok(listed)
}

fn profile(fold: &PlayerFold, now: UnixMillis) -> PlayerProfile {
    let state = &fold.state;
    let is_kept = state
        .streak
        .lapses_at
        .is_some_and(|lapses_at| now < lapses_at);
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
        streak_days: if is_kept { state.streak.days } else { 0 },
        frame: state.equipped.get("frame").cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streak_that_has_lapsed_is_not_shown() {
        let id = PlayerId::try_from(5_u64).expect("an id");
        let mut fold = PlayerFold::new(id, "Ada".to_owned());
        let days = |fold: &PlayerFold, now| profile(fold, UnixMillis(now)).streak_days;
        assert_eq!(days(&fold, 0), 0);
        fold.state.streak.days = 3;
        fold.state.streak.lapses_at = Some(UnixMillis(1000));
        assert_eq!([999, 1000].map(|now| days(&fold, now)), [3, 0]);
    }
}
