//! The counters of achievements: they move forward, show the next goal, and count what they say.

use std::collections::BTreeMap;

use raidhall_protocol::Seq;
use raidhall_protocol::player::state::Counter;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};

use super::violation::StreamViolationKind;

/// The counter of completed raids.
const VICTORIES: &str = "victor";
/// The counter of counted XP.
const COUNTED_XP: &str = "collector";

/// The goals that streams have shown: what comes after each tier of an achievement, for all players.
#[derive(Debug, Default)]
pub(super) struct TierGoals(BTreeMap<String, BTreeMap<u32, Option<u64>>>);

pub(super) fn held_counter<'a>(state: &'a PlayerState, id: &str) -> Option<&'a Counter> {
    state.counters.iter().find(|counter| counter.id == id)
}

/// Returns the highest tier of an achievement that a player has; 0 if they have none.
pub(super) fn held_tier(state: &PlayerState, id: &str) -> u32 {
    let held = state.achievements.iter().find(|it| it.id == id);
    held.map_or(0, |it| it.tier)
}

/// Checks the counters that an event moved, and those that it had to move.
pub(super) fn check_counters(state: &PlayerState, event: &PlayerEvent) -> Vec<StreamViolationKind> {
    let seq = event.seq;
    let moved = event.data.counters();
    let mut found = Vec::new();
    for counter in moved {
        if let Some(held) = held_counter(state, &counter.id) {
            found.extend(check_move(seq, held, counter));
        } else if counter.goal.is_some_and(|goal| goal <= counter.value) {
            found.push(StreamViolationKind::of_goal(seq, counter));
        }
    }
    let counted = match &event.data {
        PlayerEventData::XpEarned { xp, .. } => Some((COUNTED_XP, *xp)),
        PlayerEventData::RaidEnded { raids_won, .. } => Some((VICTORIES, *raids_won)),
        _ => None,
    };
    if let Some((id, expected)) = counted {
        let in_event = moved.iter().find(|counter| counter.id == id);
        // After its last goal a counter does not move any more.
        let held = held_counter(state, id);
        let is_wrong = match (in_event, held) {
            (Some(counter), _) => counter.value != expected,
            (None, Some(held)) => held.goal.is_some() && held.value != expected,
            (None, None) => expected > 0,
        };
        if is_wrong {
            found.push(StreamViolationKind::CounterWrong {
                seq,
                id: id.to_owned(),
                told: in_event.or(held).map_or(0, |counter| counter.value),
                expected,
            });
        }
    }
    found
}

fn check_move(seq: Seq, held: &Counter, counter: &Counter) -> Option<StreamViolationKind> {
    let id = counter.id.clone();
    let Some(goal) = held.goal else {
        return Some(StreamViolationKind::CounterPastLastGoal { seq, id });
    };
    if counter.value <= held.value {
        return Some(StreamViolationKind::CounterWentBack {
            seq,
            id,
            from: held.value,
            to: counter.value,
        });
    }
    let is_reached = goal <= counter.value;
    let is_right = match counter.goal {
        Some(next) if is_reached => next > counter.value,
        Some(next) => next == goal,
        None => is_reached,
    };
    (!is_right).then(|| StreamViolationKind::of_goal(seq, counter))
}

impl TierGoals {
    /// Notes the goals that a chain of events has shown, with the state after it. Reports a goal
    /// that was another one before, and goals of an achievement that do not rise from tier to tier.
    pub(super) fn check(
        &mut self,
        chain: &[PlayerEvent],
        state: &PlayerState,
    ) -> Vec<StreamViolationKind> {
        let mut found = Vec::new();
        for event in chain {
            let moved = event.data.counters().iter();
            for counter in moved.filter_map(|moved| held_counter(state, &moved.id)) {
                if !self.accept(counter, held_tier(state, &counter.id)) {
                    found.push(StreamViolationKind::of_goal(event.seq, counter));
                }
            }
        }
        found
    }

    /// Returns whether a goal after a tier agrees with all that were shown before, and notes it.
    fn accept(&mut self, counter: &Counter, tier: u32) -> bool {
        let goals = self.0.entry(counter.id.clone()).or_default();
        if let Some(known) = goals.get(&tier) {
            return *known == counter.goal;
        }
        // After the last tier there is no goal, which is more than any.
        let height = |goal: &Option<u64>| goal.unwrap_or(u64::MAX);
        let goal = height(&counter.goal);
        let is_between = goals.range(..tier).all(|(_, lower)| height(lower) < goal)
            && goals.range(tier..).all(|(_, higher)| goal < height(higher));
        if is_between {
            goals.insert(tier, counter.goal);
        }
        is_between
    }
}
