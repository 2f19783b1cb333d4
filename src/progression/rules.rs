//! The effects of a cause on a player's stream.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::PlayerEventData;
use raidhall_protocol::player::event::{Allowance, RaidOutcome};

use super::{Cause, CauseKind, Definitions};
use crate::player::{AllowanceDay, PlayerFold};

/// Returns the data of the events that a cause adds to a player's stream.
pub fn project(
    fold: &PlayerFold,
    cause: &Cause,
    definitions: &Definitions,
) -> Vec<PlayerEventData> {
    let raid = cause.place.raid;
    let state = &fold.state;
    match cause.kind {
        CauseKind::HasRole(role) => vec![PlayerEventData::RaidJoined { raid, role }],
        CauseKind::Left(reason) => vec![PlayerEventData::RaidLeft { raid, reason }],
        CauseKind::TaskCompleted { xp, is_ranked } => {
            let used = use_allowance(fold, cause.at, xp, is_ranked, definitions);
            vec![earn(fold, xp, used.counted, Some(used.allowance))]
        }
        CauseKind::Contributed { xp } => vec![earn(fold, xp, xp, None)],
        CauseKind::Ended { outcome, rank, xp } => vec![PlayerEventData::RaidEnded {
            raid,
            outcome,
            rank,
            xp,
            raids_played: state.raids_played.saturating_add(1),
            raids_won: state
                .raids_won
                .saturating_add((outcome == RaidOutcome::Completed).into()),
        }],
    }
}

fn earn(
    fold: &PlayerFold,
    amount: u64,
    counted: u64,
    allowance: Option<Allowance>,
) -> PlayerEventData {
    let state = &fold.state;
    PlayerEventData::XpEarned {
        amount,
        counted,
        earned_xp: state.earned_xp.saturating_add(amount),
        xp: state.xp.saturating_add(counted),
        tasks: state.tasks.saturating_add(1),
        allowance,
    }
}

struct UsedAllowance {
    counted: u64,
    allowance: Allowance,
}

/// Counts XP of a task within the allowance of the player's day.
fn use_allowance(
    fold: &PlayerFold,
    at: UnixMillis,
    xp: u64,
    ranked: bool,
    definitions: &Definitions,
) -> UsedAllowance {
    let day = fold.allowance_day.as_ref();
    let day = day.filter(|day| !has_next_day_begun(fold, day, at));
    let (max, used) = if ranked {
        let used = day.map_or(0, |day| day.ranked_used);
        (definitions.ranked_xp_per_day, used)
    } else {
        let used = day.map_or(0, |day| day.casual_used);
        (definitions.casual_xp_per_day, used)
    };
    let counted = xp.min(max.saturating_sub(used));
    UsedAllowance {
        counted,
        allowance: Allowance {
            ranked,
            used: used + counted,
            since: day.map_or(at, |day| day.since),
        },
    }
}

/// Returns whether a later day has begun, both by the settings at the start of the day and by those
/// of now: a change of the zone renews no allowance.
fn has_next_day_begun(fold: &PlayerFold, day: &AllowanceDay, at: UnixMillis) -> bool {
    [&day.settings, &fold.day_settings()]
        .into_iter()
        .all(|settings| settings.day_of(at) > settings.day_of(day.since))
}
