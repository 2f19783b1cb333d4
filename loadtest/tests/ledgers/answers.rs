//! Tests of the search for commands without an answer.

use raidhall_loadtest::client_log::{ClientLog, Moment};
use raidhall_loadtest::judge::{ViolationKind, check_answers};
use raidhall_protocol::Command;

use crate::sample_case::*;

#[test]
fn a_command_without_an_answer_is_found_without_a_watch() {
    let mut log = ClientLog::new("backend", player(5), raid());
    for entry in [
        connected_entry(),
        command_entry(1, "a1", Command::Start),
        command_entry(2, "a2", Command::Start),
        ack_entry(1, 4),
    ] {
        log.record(Moment(0), entry);
    }
    let kinds: Vec<_> = check_answers(&log).into_iter().map(|it| it.kind).collect();
    let unanswered = ViolationKind::Unanswered {
        id: 2,
        command: "start",
    };
    assert_eq!(kinds, [unanswered]);
}
