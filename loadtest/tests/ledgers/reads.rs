//! Tests that reads by REST show committed states, none older than what was told before them, and
//! nothing to a player who has left.

use raidhall_loadtest::client_log::{Moment, Observation, ReadAnswer, RestRead};
use raidhall_loadtest::judge::ViolationKind;
use raidhall_protocol::{ErrorBody, ErrorType, Event, RaidId, Seq, ServerMessage};

use crate::sample_case::*;
use crate::views::view;
use crate::watches::left;

/// After Ada was acknowledged event 8.
const LATE: Moment = Moment(14_000);

pub(crate) fn read(sent: Moment, result: Result<ReadAnswer, ErrorType>) -> Observation {
    Observation::Read(RestRead {
        sent,
        answered: sent,
        result: result.map_err(|error| ErrorBody::new(error, "no")),
    })
}

pub(crate) fn raid_at(seq: u64) -> Result<ReadAnswer, ErrorType> {
    Ok(ReadAnswer::Raid(Box::new(view(seq))))
}

fn page(after: u64, limit: u64, events: &[Event]) -> Result<ReadAnswer, ErrorType> {
    Ok(ReadAnswer::Events {
        after: Seq(after),
        limit,
        events: events.to_vec(),
    })
}

/// Returns a case with further entries at the end of Ben's log, before the run settles.
fn with_end(mut case: SampleCase, entries: impl IntoIterator<Item = Observation>) -> SampleCase {
    let end = case.ben.len() - 1;
    case.ben.splice(end..end, entries);
    case
}

#[track_caller]
fn assert_violation(entries: impl IntoIterator<Item = Observation>, expected: &ViolationKind) {
    with_end(SampleCase::valid(), entries).assert_violation("ben", |kind| kind == expected);
}

#[test]
fn reads_of_the_newest_state_and_its_events_have_no_violations() {
    let events = history();
    let entries = [
        read(LATE, raid_at(8)),
        read(LATE, page(3, 5, &events[3..])),
        read(LATE, page(3, 2, &events[3..5])),
        read(LATE, page(8, 5, &[])),
        read(Moment(0), raid_at(3)),
        read(LATE, Err(ErrorType::Unavailable)),
    ];
    with_end(SampleCase::valid(), entries)
        .judge()
        .assert_no_violations();
}

#[test]
fn a_read_older_than_an_ack_or_an_earlier_read_is_a_violation() {
    let behind = |held, got| ViolationKind::SeqWentBack {
        held: Seq(held),
        got: Seq(got),
    };
    assert_violation([read(LATE, raid_at(7))], &behind(8, 7));
    assert_violation([read(LATE, page(3, 5, &[]))], &behind(8, 3));
    let earlier = read(Moment(0), raid_at(6));
    assert_violation([earlier, read(Moment(0), raid_at(5))], &behind(6, 5));
}

#[test]
fn a_read_that_the_ledger_does_not_have_is_a_violation() {
    let mut other = view(8);
    other.state.members[1].energy = 96;
    let difference = ".members[1].energy received 96, folded 95".to_owned();
    let seq = Seq(8);
    assert_violation(
        [read(LATE, Ok(ReadAnswer::Raid(Box::new(other))))],
        &ViolationKind::StateMismatch { seq, difference },
    );
    let mut ahead = view(8);
    ahead.seq = Seq(9);
    assert_violation(
        [read(LATE, Ok(ReadAnswer::Raid(Box::new(ahead))))],
        &ViolationKind::IncompleteAtEnd {
            held: Seq(8),
            head: Seq(9),
        },
    );
    let events = history();
    assert_violation(
        [read(LATE, page(3, 5, &events[4..]))],
        &ViolationKind::DifferentEvent {
            seq: Seq(5),
            other: "the server's ledger".to_owned(),
        },
    );
}

#[test]
fn a_member_may_not_be_refused_a_read() {
    assert_violation(
        [read(LATE, Err(ErrorType::NotFound))],
        &ViolationKind::MembershipDenied {
            what: "not_found to a read",
        },
    );
    assert_violation(
        [read(LATE, Err(ErrorType::Forbidden))],
        &ViolationKind::RequestRefused {
            request: "a read",
            error: "forbidden",
        },
    );
}

#[test]
fn a_list_of_raids_without_the_members_raid_is_a_violation() {
    let list = |raids: &[RaidId]| read(LATE, Ok(ReadAnswer::RaidList(raids.to_vec())));
    with_end(SampleCase::valid(), [list(&[raid()])])
        .judge()
        .assert_no_violations();
    assert_violation(
        [list(&[])],
        &ViolationKind::MembershipDenied {
            what: "missing in the list of raids",
        },
    );
}

#[test]
fn a_repeated_creation_of_another_raid_is_a_violation() {
    let other = RaidId::try_from(8_u64).unwrap();
    let created = |raid| read(LATE, Ok(ReadAnswer::Created(raid)));
    with_end(SampleCase::valid(), [created(raid())])
        .judge()
        .assert_no_violations();
    assert_violation([created(other)], &ViolationKind::CreatedTwice { other });
}

#[test]
fn a_copy_by_rest_has_the_ack_of_its_op_and_may_follow_a_refusal() {
    let key = || op("b1").unwrap();
    let acknowledged = |seq| Observation::RepeatAcknowledged {
        op: key(),
        seq: Seq(seq),
    };
    with_end(SampleCase::valid(), [acknowledged(6)])
        .judge()
        .assert_no_violations();
    let changed = ViolationKind::AckChanged {
        op: key(),
        first: Seq(6),
        then: Seq(7),
    };
    assert_violation([acknowledged(7)], &changed);
    let mut refused = SampleCase::valid();
    refused.ben[7] = received(ServerMessage::Error {
        re: "do".to_owned(),
        id: Some(1),
        raid: Some(raid()),
        player: None,
        error: ErrorBody::new(ErrorType::TaskTaken, "taken"),
    });
    refused.assert_violation("server", |kind| {
        matches!(kind, ViolationKind::DoubleEffect { .. })
    });
    refused.ben.insert(5, Observation::RepeatSent { op: key() });
    refused.judge().assert_no_violations();
}

#[test]
fn a_player_who_left_may_not_read_the_raid() {
    let is_told = |kind: &ViolationKind| matches!(kind, ViolationKind::ToldOutsider { .. });
    let is_found = |case: SampleCase| {
        let violations = case.judge().violations;
        violations.iter().any(|violation| is_told(&violation.kind))
    };
    let later = Moment(1_000_000);
    assert!(is_found(with_end(left(), [read(later, raid_at(8))])));
    let before_leaving = read(Moment(0), raid_at(8));
    assert!(!is_found(with_end(left(), [before_leaving])));
    let refused = read(later, Err(ErrorType::NotFound));
    let unlisted = read(later, Ok(ReadAnswer::RaidList(Vec::new())));
    assert!(!is_found(with_end(left(), [refused, unlisted])));
    let listed = read(later, Ok(ReadAnswer::RaidList(vec![raid()])));
    assert!(is_found(with_end(left(), [listed])));
    let returned = [Observation::Joined, read(later, raid_at(8))];
    assert!(!is_found(with_end(left(), returned)));
}
