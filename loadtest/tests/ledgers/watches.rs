//! Tests that a client which loses its watch, or is treated as a stranger, is a violation unless
//! its log says why.

use raidhall_loadtest::client_log::Observation;
use raidhall_loadtest::judge::ViolationKind;
use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::state::Role;
use raidhall_protocol::{Command, ErrorBody, ErrorType, Event, EventData, Seq, ServerMessage};

use crate::sample_case::*;

fn refused(re: &str, id: Option<u64>, error: ErrorType) -> Observation {
    received(ServerMessage::Error {
        re: re.to_owned(),
        id,
        raid: Some(raid()),
        player: None,
        error: ErrorBody::new(error, "no"),
    })
}

fn request_failed(error: Option<ErrorType>) -> Observation {
    Observation::RequestFailed {
        request: "to join",
        refusal: error.map(|error| ErrorBody::new(error, "no")),
    }
}

fn unwatched(reason: UnwatchReason) -> Observation {
    received(ServerMessage::Unwatched {
        id: None,
        raid: raid(),
        reason,
    })
}

/// Returns a valid case with further entries at the end of Ben's log, before the run settles.
fn with_end(entries: impl IntoIterator<Item = Observation>) -> SampleCase {
    let mut case = SampleCase::valid();
    let end = case.ben.len() - 1;
    case.ben.splice(end..end, entries);
    case
}

/// Appends events to the history that both clients received.
pub(crate) fn add_events(case: &mut SampleCase, events: impl IntoIterator<Item = Event>) {
    case.history.extend(events);
    let fold = raidhall_loadtest::fold::Fold::from_events(raid(), &case.history).unwrap();
    let history = case.history.clone();
    let record = case.server_record();
    record.seq = history.last().unwrap().seq;
    record.events = history;
    record.state = fold.state().unwrap().clone();
}

/// Ben leaves, is told so, and is about to join again. Ada sees it.
pub(crate) fn left() -> SampleCase {
    let left = EventData::MemberLeft {
        player: player(6),
        reason: LeaveReason::Left,
        released: Vec::new(),
    };
    let left = event(9, 6, left);
    let mut case = with_end([
        command_entry(3, "b3", Command::Leave),
        received_event(&left),
        ack_entry(3, 9),
        unwatched(UnwatchReason::Left),
    ]);
    case.ada.pop();
    case.ada.extend([received_event(&left)]);
    add_events(&mut case, [left]);
    case.server_record().online.pop();
    let settled = Observation::Settled {
        head: Seq(9),
        online: vec![player(5)],
    };
    case.ada.push(received(ServerMessage::Presence {
        raid: raid(),
        online: Vec::new(),
        offline: vec![player(6)],
    }));
    case.ada.push(settled.clone());
    *case.ben.last_mut().unwrap() = settled;
    case
}

#[test]
fn a_watch_without_an_answer_is_a_violation() {
    let case = with_end([watch_entry(Some(8))]);
    case.assert_violation("ben", |kind| *kind == ViolationKind::WatchUnanswered);
    with_end([watch_entry(Some(8)), watching_entry(8)])
        .judge()
        .assert_no_violations();
}

#[test]
fn a_client_that_ends_without_its_watch_is_a_violation() {
    let lost = |kind: &ViolationKind| *kind == ViolationKind::WatchLost;
    with_end([Observation::Disconnected { code: None }]).assert_violation("ben", lost);
    let overloaded = refused("watch", None, ErrorType::Overloaded);
    let case = with_end([watch_entry(Some(8)), overloaded.clone()]);
    case.assert_violation("ben", lost);
    with_end([
        watch_entry(Some(8)),
        overloaded,
        watch_entry(Some(8)),
        watching_entry(8),
    ])
    .judge()
    .assert_no_violations();
}

#[test]
fn a_client_that_never_settles_is_a_violation() {
    let mut case = SampleCase::valid();
    case.ben.pop();
    case.assert_violation("ben", |kind| *kind == ViolationKind::NeverSettled);
}

#[test]
fn a_player_who_left_may_be_refused_only_once_the_raid_has_ended() {
    let before_end = |case: &mut SampleCase, entries: Vec<Observation>| {
        let end = case.ben.len() - 1;
        case.ben.splice(end..end, entries);
    };
    left().assert_violation("ben", |kind| *kind == ViolationKind::WatchLost);
    let mut case = left();
    before_end(&mut case, vec![request_failed(None)]);
    case.assert_violation("ben", |kind| *kind == ViolationKind::WatchLost);
    let mut case = left();
    before_end(&mut case, vec![request_failed(Some(ErrorType::RaidClosed))]);
    case.assert_violation("ben", |kind| {
        *kind
            == ViolationKind::RequestRefused {
                request: "to join",
                error: "raid_closed",
            }
    });
    let ended = EventData::RaidFailed {
        reason: raidhall_protocol::event::FailReason::Deadline,
    };
    let ended = event(10, 5, ended);
    let mut settled = case.ada.pop();
    if let Some(Observation::Settled { head, .. }) = &mut settled {
        *head = Seq(10);
    }
    case.ada.push(received_event(&ended));
    case.ada.extend(settled);
    add_events(&mut case, [ended]);
    case.judge().assert_no_violations();
}

#[test]
fn a_join_may_find_no_raid_only_if_the_player_is_kicked_meanwhile() {
    let join = |case: &mut SampleCase, errors: &[ErrorType]| {
        let end = case.ben.len() - 1;
        let failures = errors.iter().map(|error| request_failed(Some(*error)));
        case.ben.splice(end..end, failures);
    };
    let mut case = left();
    join(&mut case, &[ErrorType::NotFound]);
    case.assert_violation("ben", |kind| {
        matches!(kind, ViolationKind::RequestRefused { .. })
    });
    let kicked = EventData::MemberLeft {
        player: player(6),
        reason: LeaveReason::Kicked,
        released: Vec::new(),
    };
    let later = [
        event(10, 6, joined(6, "Ben", Role::Member, 10)),
        event(11, 5, kicked),
    ];
    let mut case = left();
    join(&mut case, &[ErrorType::NotFound, ErrorType::Forbidden]);
    let kick = Command::Kick { player: player(6) };
    case.ada.pop();
    case.ada.push(received_event(&later[0]));
    case.ada.push(command_entry(9, "kick", kick));
    case.ada.push(received_event(&later[1]));
    case.ada.push(ack_entry(9, 11));
    case.ada.push(Observation::Settled {
        head: Seq(11),
        online: vec![player(5)],
    });
    add_events(&mut case, later);
    case.judge().assert_no_violations();
}

#[test]
fn an_answer_that_denies_a_membership_is_a_violation() {
    let denied = |what: &'static str| {
        move |kind: &ViolationKind| *kind == ViolationKind::MembershipDenied { what }
    };
    let say = Command::Say {
        text: "so".to_owned(),
    };
    with_end([
        watch_entry(Some(8)),
        refused("watch", None, ErrorType::NotFound),
    ])
    .assert_violation("ben", denied("not_found to a watch"));
    with_end([
        command_entry(3, "b3", say),
        refused("do", Some(3), ErrorType::NotFound),
    ])
    .assert_violation("ben", denied("not_found to a command"));
    with_end([refused("signal", None, ErrorType::NotMember)])
        .assert_violation("ben", denied("not_member to a signal"));
    with_end([unwatched(UnwatchReason::Forbidden)]).assert_violation("ben", denied("unwatched"));
}

#[test]
fn a_player_who_left_is_a_member_again_only_after_joining() {
    let not_found = refused("watch", None, ErrorType::NotFound);
    let is_denied = |kind: &ViolationKind| matches!(kind, ViolationKind::MembershipDenied { .. });
    let attempts = [watch_entry(Some(8)), not_found];
    let mut case = left();
    let end = case.ben.len() - 1;
    case.ben.splice(end..end, attempts.clone());
    let violations = case.judge().violations;
    assert!(
        !violations
            .iter()
            .any(|violation| is_denied(&violation.kind))
    );
    let end = case.ben.len() - 1;
    case.ben.splice(end..end, [Observation::Joined]);
    let end = case.ben.len() - 1;
    case.ben.splice(end..end, attempts);
    case.assert_violation("ben", is_denied);
}

#[test]
fn a_leave_that_was_refused_on_a_lost_connection_can_still_take_effect() {
    let leave = || command_entry(3, "b3", Command::Leave);
    let case = with_end([
        leave(),
        Observation::Disconnected { code: None },
        connected_entry(),
        leave(),
        refused("do", Some(3), ErrorType::WrongStatus),
        watch_entry(Some(8)),
        refused("watch", None, ErrorType::NotFound),
        Observation::Joined,
        watch_entry(Some(8)),
        watching_entry(8),
    ]);
    case.judge().assert_no_violations();
    let refused_at_once = with_end([
        leave(),
        refused("do", Some(3), ErrorType::WrongStatus),
        watch_entry(Some(8)),
        refused("watch", None, ErrorType::NotFound),
    ]);
    refused_at_once.assert_violation("ben", |kind| {
        matches!(kind, ViolationKind::MembershipDenied { .. })
    });
}

#[test]
fn an_event_after_the_one_that_removed_the_player_is_a_violation() {
    let later = EventData::Said {
        text: "bye".to_owned(),
    };
    let later = event(10, 5, later);
    let mut case = left();
    add_events(&mut case, [later.clone()]);
    let unwatched = case.ben.len() - 2;
    case.ben.insert(unwatched, received_event(&later));
    case.assert_violation("ben", |kind| {
        *kind == ViolationKind::NotWatching { what: "event" }
    });
}

#[test]
fn a_replay_may_show_that_its_player_had_left_and_returned() {
    let mut case = SampleCase::valid();
    let left = EventData::MemberLeft {
        player: player(6),
        reason: LeaveReason::Left,
        released: Vec::new(),
    };
    let returned = joined(6, "Ben", Role::Member, 10);
    let later = [event(9, 6, left), event(10, 6, returned)];
    case.ada.pop();
    case.ben.pop();
    let leave = [
        command_entry(3, "b3", Command::Leave),
        Observation::Disconnected { code: None },
        connected_entry(),
        command_entry(3, "b3", Command::Leave),
        ack_entry(3, 9),
        Observation::Joined,
        watch_entry(Some(8)),
        watching_entry(10),
    ];
    case.ben.extend(leave);
    for event in &later {
        case.ada.push(received_event(event));
        case.ben.push(received_event(event));
    }
    case.ada.push(settled_entry(10));
    case.ben.push(settled_entry(10));
    let mut returned = case;
    add_events(&mut returned, later);
    let violations = returned.judge().violations;
    let is_ended = |kind: &ViolationKind| *kind == ViolationKind::NotWatching { what: "event" };
    assert!(!violations.iter().any(|violation| is_ended(&violation.kind)));
}

#[test]
fn a_snapshot_in_place_of_a_promised_replay_is_a_violation() {
    let mut case = SampleCase::valid();
    case.ben[14] = snapshot_entry(7);
    let broken = ViolationKind::ReplayBroken {
        held: Seq(6),
        promised: Seq(7),
    };
    case.assert_violation("ben", |kind| *kind == broken);
    let mut kept = SampleCase::valid();
    kept.ben.insert(15, snapshot_entry(7));
    kept.judge().assert_no_violations();
}

#[test]
fn a_resume_from_a_later_seq_must_get_a_snapshot() {
    with_end([watch_entry(Some(1_000)), snapshot_entry(8)])
        .judge()
        .assert_no_violations();
    let case = with_end([watch_entry(Some(1_000)), watching_entry(8)]);
    case.assert_violation("ben", |kind| {
        matches!(kind, ViolationKind::SeqWentBack { .. })
    });
}

#[test]
fn new_tokens_that_are_refused_for_good_are_a_violation() {
    let refused = Observation::RequestFailed {
        request: "new tokens",
        refusal: Some(ErrorBody::new(ErrorType::Unauthenticated, "no")),
    };
    with_end([refused]).assert_violation("ben", |kind| {
        matches!(
            kind,
            ViolationKind::RequestRefused {
                request: "new tokens",
                ..
            }
        )
    });
}
