//! Backups: from store to store and back, damaged, untrue, interrupted.

#![allow(
    clippy::disallowed_methods,
    reason = "a test ends with its process; its tasks need no other owner"
)]
#![allow(unreachable_pub, reason = "a test has no outside")]

#[path = "../support/postgres.rs"]
mod database;

mod backup_contents;
mod backup_database;
mod raid_generator;

mod coverage;
mod damage;
mod invalid_contents;
mod killed;
mod transfers;
