//! Tests of sessions on paused time, over a store in memory that fails on demand.

#![allow(
    clippy::disallowed_methods,
    reason = "a test's runtime ends what it spawned"
)]

mod cluster;
mod commits;
mod lifecycle;
mod lost_history;
mod test_instance;

use raidhall_protocol::Command;

use crate::raid;

/// A chat text that makes `decide` panic, for tests of what a panic breaks.
const PANIC_TEXT: &str = "panic, please";

pub(super) fn panic_on_panic_text(command: &raid::RaidCommand) {
    if let raid::RaidCommand::Player {
        command: Command::Say { text },
        ..
    } = command
    {
        assert!(text != PANIC_TEXT, "panic requested by a test");
    }
}
