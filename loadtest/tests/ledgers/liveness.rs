//! Tests that a client which is not served although the servers are healthy is a violation. In the
//! logs a millisecond passes from one entry to the next.

use std::time::Duration;

use raidhall_loadtest::client_log::{Moment, Observation};
use raidhall_loadtest::judge::{HealthyPeriod, Violation, ViolationKind, check_liveness};
use raidhall_protocol::{Command, ErrorBody, ErrorType, ServerMessage};

use crate::sample_case::*;

/// Checks the period from one entry of the logs to another, with this patience in milliseconds.
fn check(case: &SampleCase, from: u64, to: u64, patience: u64) -> Vec<Violation> {
    let healthy = HealthyPeriod {
        from: Moment(from * 1_000),
        to: Moment(to * 1_000),
        patience: Duration::from_millis(patience),
    };
    check_liveness(&case.logs(), case.server_record.as_ref(), &healthy)
}

#[track_caller]
fn assert_only(violations: &[Violation], client: &str, kind: &ViolationKind) {
    let [only] = violations else {
        panic!("{violations:?}")
    };
    assert_eq!((only.client.as_str(), &only.kind), (client, kind));
}

#[test]
fn clients_that_are_answered_in_time_have_no_violations() {
    let violations = check(&SampleCase::valid(), 0, 16, 7);
    assert!(violations.is_empty(), "{violations:?}");
}

#[test]
fn a_late_answer_counts_from_the_recovery_of_the_servers() {
    let case = SampleCase::valid();
    // Ben sent the command at 8 and got the ack at 15, on his second connection.
    let late = |after_ms| ViolationKind::AnsweredLate {
        id: 2,
        command: "complete_task",
        after_ms,
    };
    assert_only(&check(&case, 0, 16, 6), "ben", &late(7));
    let violations = check(&case, 8, 16, 7);
    assert!(violations.is_empty(), "{violations:?}");
    assert_only(&check(&case, 8, 16, 6), "ben", &late(7));
    assert!(
        !check(&case, 9, 16, 6)
            .iter()
            .any(|violation| violation.kind == late(6))
    );
}

#[test]
fn a_late_refusal_is_a_violation_like_a_late_ack() {
    let mut case = SampleCase::valid();
    case.ben[15] = received(ServerMessage::Error {
        re: "do".to_owned(),
        id: Some(2),
        raid: Some(raid()),
        player: None,
        error: ErrorBody::new(ErrorType::NotYours, "no"),
    });
    let late = ViolationKind::AnsweredLate {
        id: 2,
        command: "complete_task",
        after_ms: 7,
    };
    assert_only(&check(&case, 0, 16, 6), "ben", &late);
}

#[test]
fn a_client_without_an_ack_after_the_recovery_is_a_violation() {
    let case = SampleCase::valid();
    // Ben sends his last command at 8, Ada hers at 11.
    assert_only(
        &check(&case, 9, 16, 9),
        "ben",
        &ViolationKind::NothingAcknowledged,
    );
    let mut case = case;
    let given_up = Observation::RequestFailed {
        request: "to join",
        refusal: Some(ErrorBody::new(ErrorType::RaidClosed, "over")),
    };
    case.ben.push(given_up);
    assert_only(
        &check(&case, 9, 16, 9),
        "ben",
        &ViolationKind::NothingAcknowledged,
    );
    let record = case.server_record();
    let ended = raidhall_protocol::EventData::RaidCompleted {
        ranking: Vec::new(),
    };
    record.events.push(event(9, 6, ended));
    assert_eq!(check(&case, 9, 16, 9), Vec::new());
}

#[test]
fn a_client_that_went_away_by_itself_counts_from_its_return() {
    let mut case = SampleCase::valid();
    // Ben sent the command at 8 and got the ack at 15; he went away at 11 and meant to return at 13.
    let until = Moment(13_000);
    case.ben[11] = Observation::WentAway { until };
    let violations = check(&case, 0, 16, 2);
    let late = |violation: &&Violation| {
        violation.client == "ben" && matches!(violation.kind, ViolationKind::AnsweredLate { .. })
    };
    assert_eq!(violations.iter().filter(late).count(), 0, "{violations:?}");
    assert!(
        check(&case, 0, 16, 1)
            .iter()
            .any(|violation| late(&violation))
    );
    let nothing = check(&case, 9, 16, 9);
    assert!(nothing.is_empty(), "{nothing:?}");
}

#[test]
fn a_muted_client_whose_messages_are_refused_is_served() {
    let mut case = SampleCase::valid();
    let say = Command::Say {
        text: "may I?".to_owned(),
    };
    let refusal = received(ServerMessage::Error {
        re: "do".to_owned(),
        id: Some(9),
        raid: Some(raid()),
        player: None,
        error: ErrorBody::new(ErrorType::Forbidden, "no"),
    });
    let end = case.ben.len() - 1;
    case.ben
        .splice(end..end, [command_entry(9, "c", say), refusal]);
    let from = end as u64;
    let not_served = |case: &SampleCase| {
        let violations = check(case, from, from + 2, 100);
        let of_ben = violations.iter().filter(|it| it.client == "ben");
        of_ben.count()
    };
    assert_eq!(not_served(&case), 0);
    case.ben.truncate(end);
    assert_eq!(not_served(&case), 1);
}
