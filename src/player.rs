//! The rules of a player's stream as a pure state machine: no I/O, no clock, no randomness.
//!
//! [`check()`] refuses a command for its sender or its values; [`decide()`] turns it into the data of
//! events, or a refusal, and changes nothing; [`reward()`] adds what events bring, such as levels and
//! achievements; [`keep_day()`] and [`lapse_streak()`] say what becomes of a streak;
//! [`PlayerFold::apply`] folds an event into the state; [`is_profile_shown()`] decides to which callers
//! a player's profile is shown.

mod day;
mod decide;
mod fold;
mod recent_raids;
mod rewards;
mod settings;
mod stored;
mod streak;
#[cfg(test)]
mod tests;
mod visibility;

pub use day::DaySettings;
pub use decide::{Author, check, decide};
pub use fold::{AllowanceDay, PlayerFold};
pub use rewards::{EarnedXp, Happening, reward};
pub use stored::FoldError;
pub use streak::{
    CONTRIBUTION_DELAY_MAX_MS, StreakMoments, keep_day, lapse_streak, next_due, remind,
};
pub use visibility::{ProfileViewer, is_listed_on_boards, is_profile_shown};
