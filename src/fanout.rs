//! Fan-out: a raid's committed events, encoded once and delivered to every watch on this instance.
//!
//! [`audience`] holds the watches of a raid, `ring` its latest events as frames, [`frame`] the
//! encoding, and [`outbox`] what a connection receives besides ledger events.

pub mod audience;
pub mod frame;
pub mod outbox;
mod ring;
