//! Tests of the fold and the judge on client logs written by hand.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod ack_waits;
mod answers;
mod commits;
mod folding;
mod liveness;
mod order;
mod outsider;
mod presence;
mod reads;
mod sample_case;
mod stale_presence;
mod streams;
mod views;
mod violations;
mod visitor;
mod watches;
