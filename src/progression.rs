//! What raids mean for players, as pure rules: no I/O, no clock, no randomness.
//!
//! [`causes`] finds what an event of a raid means for which players; [`project()`] turns one player's
//! cause into events of their stream.

mod cause;
mod history;
mod rules;
#[cfg(test)]
mod tests;

pub use cause::{Cause, CauseKind, RaidContext, causes};
pub use history::{DefinitionsHistory, DefinitionsNumber};
pub use rules::project;
