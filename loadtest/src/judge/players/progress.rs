//! What XP and coins add up to, written from the protocol's specification: levels, skills, balances.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::event::{Allowance, CoinsReason, XpSource};
use raidhall_protocol::player::state::Counter;
use raidhall_protocol::player::{PlayerEventData, PlayerState};

pub(super) const LEVEL_COINS: u64 = 20;
const XP_PER_COIN: u64 = 10;
/// The skill that tasks train.
pub(super) const TASK_SKILL: &str = "teamwork";

/// XP that a player gets at once.
#[derive(Debug, Clone)]
pub(super) struct XpGain<'a> {
    pub(super) amount: u64,
    pub(super) counted: u64,
    pub(super) source: XpSource,
    pub(super) happened_at: UnixMillis,
    pub(super) allowance: Option<Allowance>,
    pub(super) skill: Option<&'a str>,
    pub(super) note: Option<String>,
}

impl XpGain<'_> {
    /// Returns the data of the event that gives the XP to a player in this state.
    pub(super) fn data(self, state: &PlayerState, counters: Vec<Counter>) -> PlayerEventData {
        let xp = state.xp + self.counted;
        let level = level_of(xp);
        let trained = |skill: &str| state.skills.iter().find(|it| it.skill == skill);
        let skill_xp = (self.skill).map(|it| trained(it).map_or(0, |it| it.xp) + self.counted);
        let coins_earned = xp / XP_PER_COIN - state.xp / XP_PER_COIN;
        PlayerEventData::XpEarned {
            amount: self.amount,
            counted: self.counted,
            earned_xp: state.earned_xp + self.amount,
            xp,
            tasks: state.tasks + u64::from(self.source != XpSource::Grant),
            source: self.source,
            happened_at: self.happened_at,
            allowance: self.allowance,
            level_xp: xp - level_begin(level),
            next_level_xp: level_begin(level + 1) - level_begin(level),
            skill: self.skill.map(str::to_owned),
            skill_xp,
            skill_level: skill_xp.map(level_of),
            coins: state.coins + coins_earned,
            coins_earned,
            note: self.note,
            counters,
        }
    }
}

/// Returns the data of the event that moves coins of a player in this state, who spends no more than
/// they have.
pub(super) fn coins_moved(
    state: &PlayerState,
    amount: i64,
    reason: CoinsReason,
    note: Option<String>,
    counters: Vec<Counter>,
) -> PlayerEventData {
    let held = i64::try_from(state.coins).unwrap_or(i64::MAX);
    let amount = amount.max(-held);
    PlayerEventData::CoinsMoved {
        amount,
        reason,
        coins: state.coins.saturating_add_signed(amount),
        note,
        counters,
    }
}

/// Returns the skill that contributions and grants of a kind train.
pub(super) fn skill_of(kind: &str) -> Option<&'static str> {
    match kind {
        "habit" => Some("discipline"),
        "workout" => Some("strength"),
        "study" => Some("wisdom"),
        "focus" => Some("focus"),
        _ => None,
    }
}

/// Returns the level that this XP reaches.
pub(super) fn level_of(xp: u64) -> u64 {
    let reached = (1..).take_while(|level| level_begin(*level) <= xp);
    reached.last().unwrap_or(1)
}

/// Returns the XP at which a level begins.
const fn level_begin(level: u64) -> u64 {
    50 * level * (level - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_begins_at_fifty_times_its_pairs_of_levels() {
        for (xp, level) in [(0, 1), (99, 1), (100, 2), (299, 2), (300, 3), (600, 4)] {
            assert_eq!(level_of(xp), level, "{xp} XP");
        }
    }
}
