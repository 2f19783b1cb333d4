//! The numbers of the rules.

/// The numbers of the rules, which an operator can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definitions {
    /// How much XP of tasks in raids that are not ranked counts in one day of a player.
    pub casual_xp_per_day: u64,
    /// How much XP of tasks in ranked raids counts in one day of a player.
    pub ranked_xp_per_day: u64,
}

impl Default for Definitions {
    fn default() -> Self {
        Definitions {
            casual_xp_per_day: 300,
            ranked_xp_per_day: 2_000,
        }
    }
}
