//! The rules of a player's stream as a pure state machine: no I/O, no clock, no randomness.
//!
//! [`decide()`] turns a command into the data of events, or a refusal, and changes nothing;
//! [`PlayerFold::apply`] folds an event into the state.

mod decide;
mod fold;
mod settings;
#[cfg(test)]
mod tests;

pub use decide::{Author, decide};
pub use fold::{FoldError, PlayerFold};
