//! Tests of the store's contract on every implementation.
//!
//! The checks are in `conformance/`, each an async function that takes a fresh, empty store.
//! `conformance_suite!` lists them all, and makes each a test of one store.

#![allow(
    clippy::disallowed_methods,
    reason = "a test ends with its process; its tasks need no other owner"
)]
#![allow(unreachable_pub, reason = "a test has no outside")]

#[path = "../support/history.rs"]
#[allow(dead_code, reason = "shared with tests of the loops")]
mod history;

#[path = "../support/postgres.rs"]
mod database;

#[path = "../support/wait.rs"]
mod wait;

#[macro_use]
mod conformance;

mod faulty;
mod memory;
mod postgres;
mod sqlite;
