//! Tests that a player who is no member may be told only that there is no such raid.

use raidhall_loadtest::client_log::{ClientLog, Moment, Observation};
use raidhall_loadtest::judge::{Violation, ViolationKind, check_outsider};
use raidhall_protocol::{ErrorBody, ErrorType, ServerMessage};

use crate::sample_case::*;

fn error(re: &str, error: ErrorType) -> Observation {
    received(ServerMessage::Error {
        re: re.to_owned(),
        id: Some(1),
        raid: Some(raid()),
        player: None,
        error: ErrorBody::new(error, "no"),
    })
}

fn failed(error: Option<ErrorType>) -> Observation {
    Observation::RequestFailed {
        request: "the raid",
        refusal: error.map(|error| ErrorBody::new(error, "no")),
    }
}

fn check(entries: impl IntoIterator<Item = Observation>) -> Vec<Violation> {
    let mut log = ClientLog::new("outsider", player(9), raid());
    for entry in entries {
        log.record(Moment(0), entry);
    }
    check_outsider(&log)
}

#[test]
fn an_outsider_that_is_denied_the_raid_has_no_violations() {
    let violations = check([
        connected_entry(),
        watch_entry(None),
        error("watch", ErrorType::NotFound),
        error("do", ErrorType::NotFound),
        error("do", ErrorType::Overloaded),
        error("signal", ErrorType::NotMember),
        failed(Some(ErrorType::NotFound)),
        failed(Some(ErrorType::Unavailable)),
        failed(None),
        Observation::Disconnected { code: Some(4201) },
    ]);
    assert_eq!(violations, Vec::new());
}

#[test]
fn anything_else_that_an_outsider_is_told_is_a_violation() {
    let events = history();
    for (entry, what) in [
        (snapshot_entry(3), "snapshot"),
        (watching_entry(3), "watching"),
        (received_event(&events[7]), "event"),
        (ack_entry(1, 8), "ack"),
        (error("watch", ErrorType::Forbidden), "forbidden to a watch"),
        (error("do", ErrorType::NotMember), "not_member to a do"),
        (
            error("signal", ErrorType::NotFound),
            "not_found to a signal",
        ),
        (failed(Some(ErrorType::Forbidden)), "forbidden to the raid"),
        (
            Observation::RequestAnswered {
                request: "the events",
            },
            "the events",
        ),
    ] {
        let kinds: Vec<_> = check([entry]).into_iter().map(|it| it.kind).collect();
        let what = what.to_owned();
        assert_eq!(kinds, [ViolationKind::ToldOutsider { what }]);
    }
    let closed = check([Observation::Disconnected { code: Some(4000) }]);
    assert_eq!(
        closed[0].kind,
        ViolationKind::ClosedPermanently { code: 4000 }
    );
}
