//! What raids mean for players, as pure rules: no I/O, no clock, no randomness.
//!
//! [`causes`] finds what an event of a raid means for which players; [`project()`] turns one player's
//! cause into events of their stream; [`add_score_moves()`] says what these add to their scores on
//! leaderboards.

mod cause;
mod history;
mod rules;
mod scores;
#[cfg(test)]
mod tests;

pub use cause::{Cause, CauseKind, RaidContext, causes};
pub use history::{DefinitionsHistory, DefinitionsNumber};
pub use rules::project;
pub use scores::{
    BoardTimes, BoardWindowId, ScoreMove, ScoreTerms, add_score_moves, counted_raid_xp,
};
