//! Finds commands that were never answered, in the log of a client that watches nothing.

use super::read_client_log;
use super::violation::{Violation, ViolationKind};
use crate::client_log::ClientLog;

/// Reports every command of a client that has no final answer at the end of its log.
pub fn check_answers(log: &ClientLog) -> Vec<Violation> {
    let commands = read_client_log(log).commands;
    let open = commands
        .values()
        .filter(|command| command.ack.is_none() && !command.is_refused);
    open.map(|command| {
        let id = command.id;
        let command = command.command.kind();
        Violation::of(log, ViolationKind::Unanswered { id, command })
    })
    .collect()
}
