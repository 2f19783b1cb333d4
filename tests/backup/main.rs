//! Tests of backups: transfers between stores, damaged files, contradictory contents, and killed
//! commands.

#![allow(
    clippy::disallowed_methods,
    reason = "a test ends with its process; its tasks need no other owner"
)]
#![allow(unreachable_pub, reason = "a test has no outside")]

#[allow(
    dead_code,
    reason = "imports begin with an empty database, not with the template"
)]
#[path = "../support/postgres.rs"]
mod database;

#[allow(dead_code, reason = "shared with tests of the store")]
#[path = "../support/history.rs"]
mod history;

mod backup_contents;
mod backup_database;
mod raid_generator;
mod stream_generator;

mod coverage;
mod damage;
mod invalid_contents;
mod invalid_fields;
mod killed;
mod transfers;
