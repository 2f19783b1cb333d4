//! Tests that instances which show different states of a raid, or old ones, are a violation.

use raidhall_loadtest::fold::Fold;
use raidhall_loadtest::judge::{Violation, ViolationKind, check_views};
use raidhall_protocol::Seq;
use raidhall_protocol::rest::RaidView;

use crate::sample_case::*;

/// The raid as an instance shows it that has so many events.
pub(crate) fn view(seq: u64) -> RaidView {
    let events = history();
    let known = events.iter().filter(|event| event.seq <= Seq(seq));
    RaidView {
        state: Fold::from_events(raid(), known)
            .unwrap()
            .state()
            .unwrap()
            .clone(),
        seq: Seq(seq),
        online: both_players(),
        ws_url: String::new(),
    }
}

fn check(views: &[Result<RaidView, String>]) -> Vec<Violation> {
    let mut case = SampleCase::valid();
    check_views(raid(), &case.logs(), case.server_record(), views)
}

#[track_caller]
fn assert_only(views: &[Result<RaidView, String>], kind: &ViolationKind) {
    let violations = check(views);
    let [only] = violations.as_slice() else {
        panic!("{violations:?}")
    };
    assert_eq!((only.client.as_str(), &only.kind), ("instance 1", kind));
}

#[test]
fn instances_that_show_the_newest_state_have_no_violations() {
    assert_eq!(check(&[Ok(view(8)), Ok(view(8))]), Vec::new());
}

#[test]
fn an_instance_behind_what_a_client_was_told_is_a_violation() {
    let behind = ViolationKind::SeqWentBack {
        held: Seq(8),
        got: Seq(7),
    };
    assert_only(&[Ok(view(8)), Ok(view(7))], &behind);
}

#[test]
fn an_instance_with_another_state_at_the_same_seq_is_a_violation() {
    let mut other = view(8);
    other.state.members[1].energy = 96;
    let difference = ".members[1].energy received 96, folded 95".to_owned();
    let seq = Seq(8);
    assert_only(
        &[Ok(view(8)), Ok(other)],
        &ViolationKind::StateMismatch { seq, difference },
    );
}

#[test]
fn an_instance_ahead_of_the_ledger_or_without_an_answer_is_a_violation() {
    let mut ahead = view(8);
    ahead.seq = Seq(9);
    let unknown = ViolationKind::IncompleteAtEnd {
        held: Seq(8),
        head: Seq(9),
    };
    assert_only(&[Ok(view(8)), Ok(ahead)], &unknown);
    let error = "no response".to_owned();
    assert_only(
        &[Ok(view(8)), Err(error.clone())],
        &ViolationKind::InstanceUnreadable { error },
    );
}
