//! The effects of a cause on a player's stream.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::PlayerEventData;
use raidhall_protocol::player::event::{Allowance, CoinsReason, RaidOutcome, XpSource};
use raidhall_protocol::progression::{CoinAmounts, StreakRules};

use super::{Cause, CauseKind};
use crate::definitions::Definitions;
use crate::player::{
    AllowanceDay, CONTRIBUTION_DELAY_MAX_MS, EarnedXp, Happening, PlayerFold, keep_day,
    lapse_streak, reward,
};

/// Returns the data of the events that a cause adds to a player's stream.
pub fn project(
    fold: &PlayerFold,
    cause: &Cause,
    definitions: &Definitions,
) -> Vec<PlayerEventData> {
    let mut happenings = happenings(fold, cause, definitions);
    if let Some(rules) = &definitions.streaks {
        happenings = with_streak(fold, cause.at, happenings, rules);
    }
    reward(fold, happenings, definitions)
}

/// Puts the loss of a streak that has lapsed before what happens, and the day that it keeps behind.
fn with_streak(
    fold: &PlayerFold,
    at: UnixMillis,
    happenings: Vec<Happening>,
    rules: &StreakRules,
) -> Vec<Happening> {
    let counts = |it: &Happening| matches!(it, Happening::Xp(earned) if earned.counted > 0);
    let is_counted = happenings.iter().any(counts);
    let (settled_at, kept) = if is_counted {
        (at, keep_day(fold, at, rules))
    } else {
        (at.plus(-CONTRIBUTION_DELAY_MAX_MS), Vec::new())
    };
    let lost = lapse_streak(fold, settled_at, at, rules).into_iter();
    let lost = lost.map(Happening::Other);
    let kept = kept.into_iter().map(Happening::Other);
    lost.chain(happenings).chain(kept).collect()
}

/// Returns what a cause is for the player, before what it brings.
fn happenings(fold: &PlayerFold, cause: &Cause, definitions: &Definitions) -> Vec<Happening> {
    let raid = cause.place.raid;
    match &cause.kind {
        CauseKind::HasRole(role) => vec![Happening::Other(PlayerEventData::RaidJoined {
            raid,
            role: *role,
            counters: Vec::new(),
        })],
        CauseKind::Left(reason) => {
            let reason = *reason;
            vec![Happening::Other(PlayerEventData::RaidLeft { raid, reason })]
        }
        CauseKind::TaskCompleted { xp, is_ranked } => {
            let used = use_allowance(fold, cause.at, *xp, *is_ranked, definitions);
            vec![Happening::Xp(EarnedXp {
                amount: *xp,
                counted: used.counted,
                source: XpSource::Task,
                happened_at: cause.at,
                allowance: Some(used.allowance),
                skill: definitions.skill_of_tasks().map(str::to_owned),
                note: None,
            })]
        }
        CauseKind::Contributed { xp, kind } => vec![Happening::Xp(EarnedXp {
            amount: *xp,
            counted: *xp,
            source: XpSource::Contribution,
            happened_at: cause.at,
            allowance: None,
            skill: definitions.skill_of_kind(kind).map(str::to_owned),
            note: None,
        })],
        CauseKind::Ended { outcome, rank, xp } => {
            let ended = PlayerEventData::RaidEnded {
                raid,
                outcome: *outcome,
                rank: *rank,
                xp: *xp,
                happened_at: cause.at,
                raids_played: fold.state.raids_played.saturating_add(1),
                raids_won: (fold.state.raids_won)
                    .saturating_add((*outcome == RaidOutcome::Completed).into()),
                counters: Vec::new(),
            };
            let coins = coins_of_end(*outcome, *rank, definitions);
            [Happening::Other(ended)].into_iter().chain(coins).collect()
        }
    }
}

/// Returns the coins that the end of a raid brings.
fn coins_of_end(
    outcome: RaidOutcome,
    rank: Option<u32>,
    definitions: &Definitions,
) -> impl Iterator<Item = Happening> {
    let is_won = outcome == RaidOutcome::Completed;
    let CoinAmounts { victory, mvp, .. } = definitions.coins;
    let bonuses = [
        (is_won, victory, CoinsReason::Victory),
        (is_won && rank == Some(1), mvp, CoinsReason::Mvp),
    ];
    let bonuses = bonuses
        .into_iter()
        .filter(|(is_due, coins, _)| *is_due && *coins > 0);
    bonuses.map(|(_, coins, reason)| Happening::Coins {
        amount: coins.cast_signed(),
        reason,
        note: None,
    })
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
