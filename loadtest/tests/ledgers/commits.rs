//! Tests that a client may be told of an event only once it is committed.

use std::collections::BTreeMap;

use raidhall_loadtest::client_log::{ClientLog, Moment, Observation};
use raidhall_loadtest::judge::{Violation, ViolationKind, check_commits};
use raidhall_protocol::Seq;

use crate::reads::{raid_at, read};
use crate::sample_case::*;

/// Judges a client that receives this at 10, where events 1 to 3 were committed at 5 and event 4 at
/// `fourth`.
fn check(observation: Observation, fourth: Option<u64>) -> Vec<Violation> {
    let mut log = ClientLog::new("Ada", player(5), raid());
    log.record(Moment(10), observation);
    let first = (1..=3).map(|seq| (Seq(seq), Moment(5)));
    let fourth = fourth.map(|at| (Seq(4), Moment(at)));
    check_commits(&log, &first.chain(fourth).collect::<BTreeMap<_, _>>())
}

#[test]
fn committed_events_may_be_told() {
    let event = &history()[3];
    assert_eq!(check(received_event(event), Some(10)), []);
    assert_eq!(check(ack_entry(1, 4), Some(9)), []);
    assert_eq!(check(snapshot_entry(3), None), []);
    assert_eq!(check(watching_entry(3), None), []);
    assert_eq!(check(read(Moment(10), raid_at(3)), None), []);
}

#[test]
fn events_told_before_their_commit_are_a_violation() {
    let event = &history()[3];
    for (observation, what) in [
        (received_event(event), "event"),
        (ack_entry(1, 4), "ack"),
        (snapshot_entry(4), "snapshot"),
        (watching_entry(4), "watching"),
        (read(Moment(10), raid_at(4)), "a read by REST"),
    ] {
        for fourth in [None, Some(11)] {
            let violations = check(observation.clone(), fourth);
            let told = ViolationKind::ToldEarly {
                seq: Seq(4),
                what: what.to_owned(),
            };
            let kinds: Vec<_> = violations.into_iter().map(|it| it.kind).collect();
            assert_eq!(kinds, [told]);
        }
    }
}
