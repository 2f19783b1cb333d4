//! What events bring beside themselves: coins, levels, skills, counters and achievements.

use std::collections::VecDeque;

use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::event::{
    Allowance, CoinsReason, CorrectedField, CorrectionSource, ItemSource, XpSource,
};
use raidhall_protocol::player::state::Counter;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};
use raidhall_protocol::progression::Achievement;

use super::fold::PlayerFold;
use crate::definitions::Definitions;

/// Most levels that one event reaches. A new curve can put a player far ahead; the rest of the levels
/// follows with the next XP.
const LEVELS_AT_ONCE_MAX: u64 = 50;

/// Something that happens to a player, before it is known what their balances are after it.
#[derive(Debug, Clone)]
pub enum Happening {
    /// The player earns XP.
    Xp(EarnedXp),
    /// The player gets or loses coins.
    Coins {
        amount: i64,
        reason: CoinsReason,
        note: Option<String>,
    },
    /// The player gets an item.
    Item { item: String, by: ItemSource },
    /// Something that changes no balance. Its counters are still empty.
    Other(PlayerEventData),
    /// The player reaches a level.
    Level(u64),
}

/// XP that a player earns.
#[derive(Debug, Clone)]
pub struct EarnedXp {
    /// All of the XP.
    pub amount: u64,
    /// How much of it counts.
    pub counted: u64,
    /// What it is for.
    pub source: XpSource,
    /// When it was earned.
    pub happened_at: UnixMillis,
    /// The day's allowance that was used.
    pub allowance: Option<Allowance>,
    /// The skill that it trains.
    pub skill: Option<String>,
    /// Why it was granted.
    pub note: Option<String>,
}

/// Returns the data of the events that happenings add to a player's stream, with everything that they
/// bring.
pub fn reward(
    fold: &PlayerFold,
    happenings: Vec<Happening>,
    definitions: &Definitions,
) -> Vec<PlayerEventData> {
    let mut rewards = Rewards {
        definitions,
        fold: fold.clone(),
        waiting: happenings.into(),
        events: Vec::new(),
    };
    while let Some(happening) = rewards.waiting.pop_front() {
        rewards.add(happening);
    }
    rewards.events
}

struct Rewards<'a> {
    definitions: &'a Definitions,
    /// The player's stream with the events that were added.
    fold: PlayerFold,
    waiting: VecDeque<Happening>,
    events: Vec<PlayerEventData>,
}

impl Rewards<'_> {
    /// Adds an event, and puts what it brings behind what is waiting.
    fn add(&mut self, happening: Happening) {
        let mut data = self.complete(happening);
        match &data {
            PlayerEventData::XpEarned { xp, .. } => self.bring_levels(*xp),
            PlayerEventData::Corrected {
                field: CorrectedField::Xp,
                to,
                by,
                note,
                ..
            } => {
                self.correct_level_xp(*to, *by, note);
                self.bring_levels(*to);
            }
            _ => {}
        }
        let moved = self.count(&data);
        if let Some(counters) = counters_mut(&mut data) {
            *counters = moved;
        }
        self.fold.apply(&PlayerEvent {
            seq: self.fold.seq.next(),
            at: self.fold.at,
            cause: None,
            data: data.clone(),
        });
        self.events.push(data);
    }

    /// Returns the event of a happening, with the balances after it.
    fn complete(&self, happening: Happening) -> PlayerEventData {
        let state = &self.fold.state;
        let counters = Vec::new();
        match happening {
            Happening::Xp(earned) => self.earn(earned),
            Happening::Coins {
                amount,
                reason,
                note,
            } => PlayerEventData::CoinsMoved {
                amount,
                reason,
                coins: state.coins.saturating_add_signed(amount),
                note,
                counters,
            },
            Happening::Item { item, by } => PlayerEventData::ItemGranted { item, by, counters },
            Happening::Level(level) => {
                let coins_earned = self.definitions.coins.level;
                PlayerEventData::LevelReached {
                    level,
                    coins: state.coins.saturating_add(coins_earned),
                    coins_earned,
                    counters,
                }
            }
            Happening::Other(data) => data,
        }
    }

    fn earn(&self, earned: EarnedXp) -> PlayerEventData {
        let state = &self.fold.state;
        let xp = state.xp.saturating_add(earned.counted);
        let per_coin = self.definitions.coins.xp_per_coin;
        let coins_earned = xp / per_coin - state.xp / per_coin;
        let levels = self.definitions.levels;
        let (level_xp, next_level_xp) = self.level_progress(xp);
        let skill_xp = earned.skill.as_ref().map(|skill| {
            let trained = state.skills.iter().find(|it| it.skill == *skill);
            let before = trained.map_or(0, |trained| trained.xp);
            before.saturating_add(earned.counted)
        });
        let is_grant = earned.source == XpSource::Grant;
        PlayerEventData::XpEarned {
            amount: earned.amount,
            counted: earned.counted,
            earned_xp: state.earned_xp.saturating_add(earned.amount),
            xp,
            tasks: state.tasks.saturating_add((!is_grant).into()),
            source: earned.source,
            happened_at: earned.happened_at,
            allowance: earned.allowance,
            level_xp,
            next_level_xp,
            skill: earned.skill,
            skill_xp,
            skill_level: skill_xp.map(|xp| levels.level_of(xp)),
            coins: state.coins.saturating_add(coins_earned),
            coins_earned,
            note: earned.note,
            counters: Vec::new(),
        }
    }

    /// Returns the player's level after XP. A level that was reached stays, whatever the curve.
    fn level_after(&self, xp: u64) -> u64 {
        let level = self.fold.state.level;
        let reached = self.definitions.levels.level_of(xp);
        reached.clamp(level, level.saturating_add(LEVELS_AT_ONCE_MAX))
    }

    /// Puts the levels that XP reaches behind what is waiting.
    fn bring_levels(&mut self, xp: u64) {
        let level = self.fold.state.level;
        let reached = (level..self.level_after(xp)).map(|level| Happening::Level(level + 1));
        self.waiting.extend(reached);
    }

    /// Corrects how far the player is in the level, after a correction of the XP.
    fn correct_level_xp(&mut self, xp: u64, by: CorrectionSource, note: &str) {
        let (level_xp, next_level_xp) = self.level_progress(xp);
        let corrected = [
            (CorrectedField::LevelXp, level_xp),
            (CorrectedField::NextLevelXp, next_level_xp),
        ];
        for (field, to) in corrected {
            let from = self.fold.state.number(field);
            if from != to {
                let corrected = PlayerEventData::Corrected {
                    field,
                    from,
                    to,
                    by,
                    note: note.to_owned(),
                };
                self.waiting.push_back(Happening::Other(corrected));
            }
        }
    }

    /// Returns the XP since the beginning of the level after XP, and from there to the next level.
    fn level_progress(&self, xp: u64) -> (u64, u64) {
        let levels = self.definitions.levels;
        let level = self.level_after(xp);
        let level_xp = xp.saturating_sub(levels.begin(level));
        (level_xp, levels.width(level))
    }

    /// Moves the counters that an event moves, and unlocks the tiers that they reach.
    fn count(&mut self, data: &PlayerEventData) -> Vec<Counter> {
        let definitions = self.definitions;
        let mut moved = Vec::new();
        for achievement in &definitions.achievements {
            let id = &achievement.shown.id;
            let before = counter_value(&self.fold.state, id);
            let Some(value) = achievement.count(before, data) else {
                continue;
            };
            moved.push(Counter {
                id: id.clone(),
                value,
                goal: achievement.next_goal(value),
            });
            self.unlock(&achievement.shown, value);
        }
        moved
    }

    fn unlock(&mut self, achievement: &Achievement, value: u64) {
        let tiers = (1..).zip(&achievement.tiers);
        for (number, tier) in tiers.take_while(|(_, tier)| tier.goal <= value) {
            if self.is_unlocked(&achievement.id, number) {
                continue;
            }
            let id = achievement.id.clone();
            let unlocked = PlayerEventData::AchievementUnlocked { id, tier: number };
            self.waiting.push_back(Happening::Other(unlocked));
            if tier.coins > 0 {
                self.waiting.push_back(Happening::Coins {
                    amount: tier.coins.cast_signed(),
                    reason: CoinsReason::Achievement,
                    note: None,
                });
            }
        }
    }

    /// Returns whether a tier was unlocked before, or will be by what is waiting.
    fn is_unlocked(&self, id: &str, tier: u32) -> bool {
        let mut unlocked = self.fold.state.achievements.iter();
        let mut waiting = self.waiting.iter();
        unlocked.any(|it| it.id == id && it.tier >= tier)
            || waiting.any(|it| match it {
                Happening::Other(PlayerEventData::AchievementUnlocked {
                    id: of,
                    tier: number,
                }) => of == id && *number == tier,
                _ => false,
            })
    }
}

fn counter_value(state: &PlayerState, id: &str) -> u64 {
    let counter = state.counters.iter().find(|counter| counter.id == id);
    counter.map_or(0, |counter| counter.value)
}

/// Returns the list of counters of an event that has one.
pub(super) const fn counters_mut(data: &mut PlayerEventData) -> Option<&mut Vec<Counter>> {
    match data {
        PlayerEventData::XpEarned { counters, .. }
        | PlayerEventData::LevelReached { counters, .. }
        | PlayerEventData::CoinsMoved { counters, .. }
        | PlayerEventData::ItemGranted { counters, .. }
        | PlayerEventData::RaidJoined { counters, .. }
        | PlayerEventData::RaidEnded { counters, .. } => Some(counters),
        _ => None,
    }
}
