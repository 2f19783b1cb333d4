//! What the first event of a chain must be, by its cause or command and the state before it. Only the
//! definitions know which counters it moves, so these are as they were told.

use raidhall_protocol::player::event::{CoinsReason, RaidOutcome, XpSource};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};

use super::allowance::{Allowances, DayBegin};
use super::causes::{ExpectedEffect, Gain};
use super::progress::{TASK_SKILL, XpGain, coins_moved, skill_of};
use super::streaks::REPAIR_COST;

/// Returns the data of the effect that a raid's event must have.
pub(super) fn data_of_gain(
    state: &PlayerState,
    expected: &ExpectedEffect,
    told: &PlayerEventData,
    allowances: &mut Allowances,
) -> PlayerEventData {
    let raid = expected.cause.raid;
    let counters = told.counters().to_vec();
    match &expected.gain {
        Gain::Role(role) => PlayerEventData::RaidJoined {
            raid,
            role: *role,
            counters,
        },
        Gain::Left(reason) => PlayerEventData::RaidLeft {
            raid,
            reason: *reason,
        },
        Gain::Ended { outcome, rank, xp } => PlayerEventData::RaidEnded {
            raid,
            outcome: *outcome,
            rank: *rank,
            xp: *xp,
            happened_at: expected.at,
            raids_played: state.raids_played + 1,
            raids_won: state.raids_won + u64::from(*outcome == RaidOutcome::Completed),
            counters,
        },
        Gain::Contribution { xp, kind } => {
            let earned = XpGain {
                amount: *xp,
                counted: *xp,
                source: XpSource::Contribution,
                happened_at: expected.at,
                allowance: None,
                skill: skill_of(kind),
                note: None,
            };
            earned.data(state, counters)
        }
        Gain::Task { xp, ranked } => {
            let begin = DayBegin::from_settings(&state.settings);
            let (counted, allowance) = allowances.count(begin, expected.at, *xp, *ranked);
            let earned = XpGain {
                amount: *xp,
                counted,
                source: XpSource::Task,
                happened_at: expected.at,
                allowance: Some(allowance),
                skill: Some(TASK_SKILL),
                note: None,
            };
            earned.data(state, counters)
        }
    }
}

/// Returns the data that the event of a command must have: amounts are as they were told, and are
/// compared with the commands elsewhere.
pub(super) fn data_of_command(state: &PlayerState, event: &PlayerEvent) -> PlayerEventData {
    let told = &event.data;
    let counters = told.counters().to_vec();
    match told {
        PlayerEventData::XpEarned {
            amount,
            skill,
            note,
            ..
        } => {
            let earned = XpGain {
                amount: *amount,
                counted: *amount,
                source: XpSource::Grant,
                happened_at: event.at,
                allowance: None,
                skill: skill.as_deref(),
                note: note.clone(),
            };
            earned.data(state, counters)
        }
        PlayerEventData::CoinsMoved {
            amount,
            reason: CoinsReason::Purchase,
            ..
        } => coins_moved(
            state,
            (*amount).min(0),
            CoinsReason::Purchase,
            None,
            counters,
        ),
        PlayerEventData::CoinsMoved {
            reason: CoinsReason::Repair,
            ..
        } => coins_moved(state, -REPAIR_COST, CoinsReason::Repair, None, counters),
        PlayerEventData::CoinsMoved {
            amount,
            reason,
            note,
            ..
        } => coins_moved(state, *amount, *reason, note.clone(), counters),
        _ => told.clone(),
    }
}
