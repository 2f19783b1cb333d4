//! What must follow an event of a player's stream at once: levels, coins, achievements, items. The
//! event and its follow-ups are a chain, which has one cause and one time.

use std::collections::VecDeque;

use raidhall_protocol::player::event::{CoinsReason, ItemSource, RaidOutcome};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};

use super::counters::{held_counter, held_tier};
use super::progress::{LEVEL_COINS, coins_moved, level_of};
use super::violation::StreamViolationKind;

const VICTORY_COINS: i64 = 50;
const MVP_COINS: i64 = 25;

/// An event that another one of its chain brings.
#[derive(Debug, Clone, PartialEq, Eq)]
enum FollowUp {
    Level(u64),
    Coins {
        amount: i64,
        reason: CoinsReason,
    },
    /// What XP does for the streak.
    Streak(PlayerEventData),
    /// The streak that was repaired.
    Repair,
    /// The item that was bought.
    Item,
    /// The coins of the tier that was just unlocked, if it has any.
    TierCoins,
    /// The tiers of an achievement whose goals its counter may have reached. How many they are is
    /// known only to the definitions; `is_due` if one at least is missing.
    Tiers {
        id: String,
        is_due: bool,
    },
}

/// The follow-ups that a chain still awaits, in their order: what comes later may be brought by
/// what came before.
#[derive(Debug, Default)]
pub(super) struct AwaitedFollowUps(VecDeque<FollowUp>);

/// Returns the chains of a stream, in its order.
pub(super) fn chains(events: &[PlayerEvent]) -> impl Iterator<Item = &[PlayerEvent]> {
    events.chunk_by(|_, next| is_follow_up(&next.data))
}

/// Returns whether only another event of a stream brings events of this type.
pub(super) const fn is_follow_up(data: &PlayerEventData) -> bool {
    matches!(
        data,
        PlayerEventData::LevelReached { .. }
            | PlayerEventData::AchievementUnlocked { .. }
            | PlayerEventData::DayKept { .. }
            | PlayerEventData::StreakFrozen { .. }
            | PlayerEventData::StreakRepaired { .. }
            | PlayerEventData::ItemGranted {
                by: ItemSource::Purchase,
                ..
            }
            | PlayerEventData::CoinsMoved {
                reason: CoinsReason::Victory | CoinsReason::Mvp | CoinsReason::Achievement,
                ..
            }
    )
}

impl AwaitedFollowUps {
    /// Adds what XP does for the streak, which comes before all else that it brings.
    pub(super) fn add_to_streak(&mut self, events: Vec<PlayerEventData>) {
        self.0.extend(events.into_iter().map(FollowUp::Streak));
    }

    /// Adds what an event brings to a player in this state.
    pub(super) fn add(&mut self, state: &PlayerState, data: &PlayerEventData) {
        match data {
            PlayerEventData::XpEarned { xp, .. } => {
                let levels = state.level + 1..=level_of(*xp);
                self.0.extend(levels.map(FollowUp::Level));
            }
            PlayerEventData::RaidEnded {
                outcome: RaidOutcome::Completed,
                rank,
                ..
            } => {
                self.0.push_back(FollowUp::Coins {
                    amount: VICTORY_COINS,
                    reason: CoinsReason::Victory,
                });
                if *rank == Some(1) {
                    self.0.push_back(FollowUp::Coins {
                        amount: MVP_COINS,
                        reason: CoinsReason::Mvp,
                    });
                }
            }
            PlayerEventData::CoinsMoved {
                reason: CoinsReason::Purchase,
                ..
            } => self.0.push_back(FollowUp::Item),
            PlayerEventData::CoinsMoved {
                reason: CoinsReason::Repair,
                ..
            } => self.0.push_back(FollowUp::Repair),
            PlayerEventData::AchievementUnlocked { .. } => {
                self.0.push_front(FollowUp::TierCoins);
            }
            _ => {}
        }
        for counter in data.counters() {
            let held = held_counter(state, &counter.id);
            let goal = held.and_then(|held| held.goal);
            let is_due = match held {
                Some(_) => goal.is_some_and(|goal| goal <= counter.value),
                // The first goals of a counter that has not moved yet are not known.
                None => counter.goal.is_none(),
            };
            if is_due || held.is_none() {
                let id = counter.id.clone();
                self.0.push_back(FollowUp::Tiers { id, is_due });
            }
        }
    }

    /// Checks the next event of the chain that begins with `first`.
    pub(super) fn check(
        &mut self,
        event: &PlayerEvent,
        first: &PlayerEvent,
        state: &PlayerState,
    ) -> Vec<StreamViolationKind> {
        let seq = event.seq;
        let kind = event.data.kind();
        let is_met = |it: &FollowUp| it.is_met_by(&event.data);
        let due = self.0.iter().position(|it| it.is_due() && is_met(it));
        let Some(place) = due.or_else(|| self.0.iter().position(is_met)) else {
            return vec![StreamViolationKind::FollowUpUnexpected { seq, kind }];
        };
        let skipped = self.0.drain(..place);
        let mut found: Vec<_> = missing(skipped, first).collect();
        if event.cause != first.cause {
            found.push(StreamViolationKind::EffectWithoutCause {
                seq,
                kind,
                cause: event.cause,
            });
        }
        if event.at != first.at {
            found.push(StreamViolationKind::EffectTimeWrong {
                seq,
                told: event.at.0,
                expected: first.at.0,
            });
        }
        let expected = self.0[0].expected_data(state, &event.data);
        found.extend(StreamViolationKind::of_data(event, &expected));
        if let Some(FollowUp::Tiers { is_due, .. }) = self.0.front_mut() {
            *is_due = false;
        } else {
            self.0.pop_front();
        }
        found
    }

    /// Ends the chain: returns what it lacks.
    pub(super) fn finish(self, first: &PlayerEvent) -> impl Iterator<Item = StreamViolationKind> {
        missing(self.0, first)
    }
}

fn missing(
    follow_ups: impl IntoIterator<Item = FollowUp>,
    first: &PlayerEvent,
) -> impl Iterator<Item = StreamViolationKind> {
    let seq = first.seq;
    let due = follow_ups.into_iter().filter(FollowUp::is_due);
    due.map(move |it| StreamViolationKind::FollowUpMissing {
        seq,
        expected: format!("{it:?}"),
    })
}

impl FollowUp {
    /// Returns whether the chain is wrong without it.
    const fn is_due(&self) -> bool {
        match self {
            Self::Level(_) | Self::Coins { .. } | Self::Streak(_) | Self::Repair | Self::Item => {
                true
            }
            Self::TierCoins => false,
            Self::Tiers { is_due, .. } => *is_due,
        }
    }

    fn is_met_by(&self, data: &PlayerEventData) -> bool {
        match (self, data) {
            (Self::Streak(expected), told) => expected.kind() == told.kind(),
            (Self::Level(_), PlayerEventData::LevelReached { .. })
            | (Self::Repair, PlayerEventData::StreakRepaired { .. })
            | (Self::Item, PlayerEventData::ItemGranted { .. }) => true,
            (Self::Coins { reason, .. }, PlayerEventData::CoinsMoved { reason: told, .. }) => {
                reason == told
            }
            (Self::TierCoins, PlayerEventData::CoinsMoved { reason, .. }) => {
                *reason == CoinsReason::Achievement
            }
            (Self::Tiers { id, .. }, PlayerEventData::AchievementUnlocked { id: told, .. }) => {
                id == told
            }
            _ => false,
        }
    }

    /// Returns the data that the event must have. What only the definitions know is as it was told.
    fn expected_data(&self, state: &PlayerState, told: &PlayerEventData) -> PlayerEventData {
        let counters = told.counters().to_vec();
        match (self, told) {
            (Self::Level(level), _) => PlayerEventData::LevelReached {
                level: *level,
                coins: state.coins + LEVEL_COINS,
                coins_earned: LEVEL_COINS,
                counters,
            },
            (Self::Coins { amount, reason }, _) => {
                coins_moved(state, *amount, *reason, None, counters)
            }
            (Self::TierCoins, PlayerEventData::CoinsMoved { amount, reason, .. }) => {
                coins_moved(state, (*amount).max(1), *reason, None, counters)
            }
            (Self::Tiers { id, .. }, _) => PlayerEventData::AchievementUnlocked {
                id: id.clone(),
                tier: held_tier(state, id) + 1,
            },
            (Self::Streak(expected), _) => expected.clone(),
            // The effects of repairs are checked beside the chains.
            (Self::Item | Self::Repair | Self::TierCoins, told) => told.clone(),
        }
    }
}
