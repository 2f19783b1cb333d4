//! Simulated players for Raidhall, and the judge of the server that they play on.
//!
//! A run has three parts that know nothing of each other. Players ([`client`], [`play`]) talk to a
//! real server and record everything that they send and receive in a [`client_log`]. The [`judge`]
//! reads those logs afterwards and reports every violation that it finds. [`fold`] is the client's
//! half of the contract, written from the specification and not from the server, so that the two
//! can disagree.
//!
//! The server's own integration tests use the same client, fold and judge.

pub mod ack_waits;
pub mod client;
pub mod client_log;
pub mod fold;
pub mod judge;
pub mod latency;
pub mod network;
pub mod play;
pub mod process;
pub mod report;
pub mod run;
pub mod server_process;
pub mod service;
pub mod target;
pub mod targets;
