//! A leaderboard of a player and their companions.

use std::collections::{HashMap, HashSet};

use raidhall_protocol::PlayerId;

use super::{BoardQuery, RankedPart};
use crate::http::AppState;
use crate::http::error_response::ErrorResponse;
use crate::player::PlayerFold;
use crate::progression::BoardWindowId;
use crate::store::{BoardPosition, BoardScore};

/// Maximum number of players among which companions are searched: those of the raids that ended last.
pub(super) const CANDIDATES_MAX: u32 = 200;

/// Reads a part of the ranking of a player's companions and the player. Companions who hide
/// from leaderboards are left out.
pub(super) async fn companion_scores(
    app: &AppState,
    viewer: PlayerId,
    window: &BoardWindowId,
    own: Option<BoardScore>,
    query: &BoardQuery,
    behind: Option<BoardPosition>,
) -> Result<RankedPart, ErrorResponse> {
    let companions = find_companions(app, viewer).await?;
    let scores = app.store.scores_in_window(window, &companions).await?;
    let own = own.map(|own| own.position);
    let mut positions: Vec<_> = scores.iter().map(|it| it.position).chain(own).collect();
    positions.sort_unstable();
    let own_index = own.map(|own| positions.partition_point(|it| *it < own));
    let limit = query.limit as usize;
    let start = match (own_index.filter(|_| query.is_around_me), behind) {
        (Some(own), _) => own.saturating_sub(limit / 2),
        (None, Some(last)) => positions.partition_point(|it| *it <= last),
        (None, None) => 0,
    };
    let mut part = positions.split_off(start);
    let has_more = part.len() > limit;
    part.truncate(limit);
    Ok(RankedPart {
        first_rank: start as u64 + 1,
        next: part.last().copied().filter(|_| has_more),
        positions: part,
        own_rank: own_index.map(|index| index as u64 + 1),
    })
}

/// Returns a player's companions that the player sees on leaderboards.
async fn find_companions(app: &AppState, viewer: PlayerId) -> Result<Vec<PlayerId>, ErrorResponse> {
    let now = app.clock.now();
    let folds = app.streams.read_many(&[viewer]).await?;
    let Some(own) = folds.get(&viewer) else {
        return Ok(Vec::new()); // erased meanwhile
    };
    let raids = own.recent_raids(now);
    let members = app.store.raid_members(&raids, CANDIDATES_MAX).await?;
    let members: HashMap<_, _> = members.iter().map(|it| (it.raid, &it.first)).collect();
    let mut known = HashSet::from([viewer]);
    let candidates = raids.iter().filter_map(|raid| members.get(raid)).copied();
    let candidates = candidates.flatten().map(|member| member.id);
    let candidates: Vec<_> = candidates
        .filter(|id| known.insert(*id))
        .take(CANDIDATES_MAX as usize)
        .collect();
    let folds = app.streams.read_many(&candidates).await?;
    let is_shown = |fold: &&PlayerFold| fold.is_companion_on_boards(own, now);
    let shown = folds.values().filter(is_shown);
    Ok(shown.map(|fold| fold.state.id).collect())
}
