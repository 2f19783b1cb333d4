//! Tests of the order in which one client's commands take effect.

use raidhall_loadtest::client_log::{ClientLog, Moment, Observation};
use raidhall_loadtest::judge::{ViolationKind, check_order};
use raidhall_protocol::{ClientMessage, Command, Seq, ServerMessage};

use crate::sample_case::*;

fn sent(id: u64) -> Observation {
    command_entry(id, &format!("a{id}"), Command::Start)
}

fn check(entries: impl IntoIterator<Item = Observation>) -> Vec<ViolationKind> {
    let mut log = ClientLog::new("Ada", player(5), raid());
    for entry in entries {
        log.record(Moment(0), entry);
    }
    let violations = check_order(&log);
    violations.into_iter().map(|it| it.kind).collect()
}

#[test]
fn commands_in_the_order_of_sending_have_no_violations() {
    let entries = [
        connected_entry(),
        sent(1),
        sent(2),
        sent(3),
        // The answers may come in any order.
        ack_entry(2, 6),
        ack_entry(1, 5),
        ack_entry(3, 6),
    ];
    assert_eq!(check(entries), []);
}

#[test]
fn a_command_that_overtakes_another_is_a_violation() {
    let reordered = |id, seq| ViolationKind::CommandsReordered { id, seq: Seq(seq) };
    let acks = [ack_entry(1, 6), ack_entry(2, 5)];
    let begin = [connected_entry(), sent(1), sent(2)];
    assert_eq!(
        check(begin.clone().into_iter().chain(acks.clone())),
        [reordered(2, 5)]
    );
    let acks = acks.into_iter().rev();
    assert_eq!(check(begin.into_iter().chain(acks)), [reordered(1, 6)]);
}

#[test]
fn commands_that_were_sent_again_have_no_place_in_the_order() {
    let entries = [
        connected_entry(),
        sent(1),
        sent(2),
        sent(1),
        ack_entry(1, 7),
        ack_entry(2, 6),
        sent(3),
        connected_entry(),
        sent(4),
        sent(3),
        ack_entry(4, 9),
        ack_entry(3, 8),
    ];
    assert_eq!(check(entries), []);
    let duplicate = received(ServerMessage::Ack {
        id: 2,
        raid: raid(),
        seq: Seq(5),
        duplicate: true,
    });
    let entries = [
        connected_entry(),
        sent(1),
        sent(2),
        ack_entry(1, 6),
        duplicate,
    ];
    assert_eq!(check(entries), []);
}

#[test]
fn commands_without_an_op_have_no_place_in_the_order() {
    let without_op = Observation::Sent(ClientMessage::Do {
        id: 2,
        raid: raid(),
        op: None,
        cmd: Command::Start,
    });
    let entries = [
        connected_entry(),
        sent(1),
        without_op,
        ack_entry(1, 6),
        ack_entry(2, 5),
    ];
    assert_eq!(check(entries), []);
}
