//! The parts of a player's state that are not single numbers.

use raidhall_protocol::player::PlayerState;
use serde_json::{Value, json};

/// A list or table of a player's state that raids fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatePart {
    Raids,
    Skills,
    Achievements,
    Counters,
    Streak,
    Items,
}

impl StatePart {
    pub(super) const ALL: [StatePart; 6] = [
        Self::Raids,
        Self::Skills,
        Self::Achievements,
        Self::Counters,
        Self::Streak,
        Self::Items,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Raids => "raids",
            Self::Skills => "skills",
            Self::Achievements => "achievements",
            Self::Counters => "counters",
            Self::Streak => "streak",
            Self::Items => "items",
        }
    }

    /// Returns the part as JSON: a list.
    pub(super) fn of(self, state: &PlayerState) -> Value {
        match self {
            Self::Raids => json!(state.raids),
            Self::Skills => json!(state.skills),
            Self::Achievements => json!(state.achievements),
            Self::Counters => json!(state.counters),
            Self::Streak => json!([state.streak]),
            Self::Items => json!(state.items),
        }
    }
}

/// Copies what raids bring beside numbers: a correction settles it.
pub(super) fn copy_rewards(from: &PlayerState, to: &mut PlayerState) {
    to.skills.clone_from(&from.skills);
    to.achievements.clone_from(&from.achievements);
    to.counters.clone_from(&from.counters);
    to.streak.clone_from(&from.streak);
    to.items.clone_from(&from.items);
}
