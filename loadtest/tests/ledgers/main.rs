//! The fold and the judge, tested on stories written by hand.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod court;
mod folding;
mod judging;
mod presence;
mod waiting;
