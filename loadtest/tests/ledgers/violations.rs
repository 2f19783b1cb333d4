//! Tests that the judge finds every violation: each way to break a promise is forged into a valid
//! case.

use raidhall_loadtest::client_log::Observation;
use raidhall_loadtest::fold::Fold;
use raidhall_loadtest::judge::ViolationKind;
use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::rest::{Contribution, Profile};
use raidhall_protocol::state::Role;
use raidhall_protocol::{
    ClientMessage, Command, ErrorBody, ErrorType, EventData, Seq, ServerMessage, UnixMillis,
};

use crate::sample_case::*;
use crate::watches::add_events;

#[test]
fn a_correct_run_has_no_violations() {
    let mut case = SampleCase::valid();
    let verdict = case.judge();
    verdict.assert_no_violations();
    assert_eq!(
        (verdict.history_events, verdict.acks, verdict.repeats),
        (8, 5, 1)
    );
    assert_eq!(
        (verdict.resumes, verdict.replays, verdict.snapshots),
        (1, 1, 2)
    );
    case.server_record = None;
    case.judge().assert_no_violations();
}

#[test]
fn a_left_out_event_is_a_hole() {
    let mut case = SampleCase::valid();
    case.ada.remove(9);
    case.assert_violation("ada", |kind| {
        *kind
            == ViolationKind::Gap {
                held: Seq(5),
                got: Seq(7),
            }
    });
}

#[test]
fn a_partial_replay_is_a_hole() {
    let mut case = SampleCase::valid();
    case.ben.remove(14);
    case.assert_violation("ben", |kind| {
        *kind
            == ViolationKind::Gap {
                held: Seq(6),
                got: Seq(8),
            }
    });
}

#[test]
fn a_missing_event_in_the_server_ledger_is_a_hole() {
    let mut case = SampleCase::valid();
    case.server_record().events.remove(5);
    case.assert_violation("server", |kind| {
        *kind
            == ViolationKind::Gap {
                held: Seq(5),
                got: Seq(7),
            }
    });
    case.assert_violation("ada", |kind| {
        matches!(kind, ViolationKind::DifferentEvent { seq: Seq(6), .. })
    });
    case.assert_violation("ben", |kind| {
        matches!(kind, ViolationKind::AckWithoutEvent { seq: Seq(6), .. })
    });
}

#[test]
fn the_same_event_twice_is_a_duplicate() {
    let mut case = SampleCase::valid();
    case.ada.insert(10, received_event(&case.history[5]));
    case.assert_violation("ada", |kind| {
        *kind == ViolationKind::Duplicate { seq: Seq(6) }
    });
    let mut case = SampleCase::valid();
    let again = case.history[7].clone();
    case.server_record().events.push(again);
    case.assert_violation("server", |kind| {
        *kind == ViolationKind::Duplicate { seq: Seq(8) }
    });
}

#[test]
fn an_older_snapshot_takes_the_client_back_in_time() {
    let mut case = SampleCase::valid();
    case.ada.insert(10, snapshot_entry(4));
    case.assert_violation("ada", |kind| {
        *kind
            == ViolationKind::SeqWentBack {
                held: Seq(6),
                got: Seq(4),
            }
    });
}

#[test]
fn a_resume_before_the_clients_seq_takes_it_back_in_time() {
    let mut case = SampleCase::valid();
    case.ben[13] = watching_entry(5);
    case.assert_violation("ben", |kind| {
        *kind
            == ViolationKind::SeqWentBack {
                held: Seq(6),
                got: Seq(5),
            }
    });
}

#[test]
fn an_event_stamped_before_its_predecessor_is_a_violation() {
    let mut case = SampleCase::valid();
    case.history[7].at = UnixMillis(5);
    let late = case.history[7].clone();
    case.server_record().events[7] = late;
    case.ada[12] = received_event(&case.history[7]);
    case.assert_violation("ada", |kind| {
        *kind == ViolationKind::ClockWentBack { seq: Seq(8) }
    });
    case.assert_violation("server", |kind| {
        *kind == ViolationKind::ClockWentBack { seq: Seq(8) }
    });
}

#[test]
fn an_ack_before_its_event_is_a_violation_only_while_watching() {
    let mut case = SampleCase::valid();
    case.ada.swap(4, 5);
    case.assert_violation("ada", |kind| {
        *kind
            == ViolationKind::AckBeforeEvent {
                seq: Seq(4),
                held: Seq(3),
            }
    });
    let mut case = SampleCase::valid();
    case.ben.swap(13, 15); // ack, event, reply to the watch
    case.assert_violation("ben", |kind| {
        matches!(kind, ViolationKind::AckBeforeEvent { seq: Seq(7), .. })
    });
    let mut alone = SampleCase::valid();
    alone.ben.drain(10..14); // reconnected, and never watched again
    alone.ben.insert(10, connected_entry());
    alone.ben.insert(
        11,
        command_entry(2, "b2", Command::CompleteTask { task: task(1) }),
    );
    alone.ben.remove(12);
    alone.ben.retain(|entry| {
        !matches!(entry, Observation::Received(message)
            if matches!(&**message, ServerMessage::Event { event, .. } if event.seq > Seq(6)))
    });
    let found = alone.judge().violations;
    let [only] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(only.kind, ViolationKind::WatchLost);
}

#[test]
fn an_ack_without_an_event_is_a_violation() {
    let mut case = SampleCase::valid();
    case.server_record().events.pop();
    case.server_record().seq = Seq(7);
    case.assert_violation("ada", |kind| {
        matches!(
            kind,
            ViolationKind::AckWithoutEvent {
                seq: Seq(8),
                op: Some(_)
            }
        )
    });
}

#[test]
fn an_acknowledged_command_missing_at_its_seq_is_a_violation() {
    let mut case = SampleCase::valid();
    for text in ["hello", "there"] {
        // All clients receive the same wrong event: only the command's sender can notice.
        case.history[7].data = EventData::Said {
            text: text.to_owned(),
        };
        let other = case.history[7].clone();
        case.server_record().events[7] = other;
        case.ada[12] = received_event(&case.history[7]);
        case.ben[16] = received_event(&case.history[7]);
    }
    case.assert_violation("ada", |kind| {
        matches!(
            kind,
            ViolationKind::AckMismatch {
                seq: Seq(8),
                command: "say",
                ..
            }
        )
    });
    case.assert_violation("server", |kind| {
        matches!(kind, ViolationKind::MissingEffect { found: 0, .. })
    });
    case.assert_violation("server", |kind| {
        matches!(kind, ViolationKind::DoubleEffect { allowed: 0, .. })
    });
}

#[test]
fn an_op_that_took_effect_twice_is_a_violation() {
    let mut case = SampleCase::valid();
    let twice = event(
        9,
        5,
        EventData::Said {
            text: "well done".to_owned(),
        },
    );
    case.server_record().events.push(twice);
    case.assert_violation("server", |kind| {
        matches!(
            kind,
            ViolationKind::DoubleEffect {
                found: 2,
                allowed: 1,
                seq: Seq(9),
                ..
            }
        )
    });
}

#[test]
fn a_refused_command_that_took_effect_is_a_violation() {
    let mut case = SampleCase::valid();
    let error = ErrorBody::new(ErrorType::WrongStatus, "no");
    case.ada[13] = received(ServerMessage::Error {
        re: "do".to_owned(),
        id: Some(3),
        raid: Some(raid()),
        player: None,
        error,
    });
    case.assert_violation("server", |kind| {
        matches!(
            kind,
            ViolationKind::DoubleEffect {
                found: 1,
                allowed: 0,
                ..
            }
        )
    });
}

#[test]
fn a_copy_from_a_lost_connection_may_take_effect_after_a_refusal() {
    let mut case = SampleCase::valid();
    let error = ErrorBody::new(ErrorType::WrongStatus, "no");
    case.ben[15] = received(ServerMessage::Error {
        re: "do".to_owned(),
        id: Some(2),
        raid: Some(raid()),
        player: None,
        error,
    });
    case.judge().assert_no_violations();
}

#[test]
fn an_attempt_without_an_op_may_take_effect_though_its_repeat_was_refused() {
    let mut case = SampleCase::valid();
    let sent = Observation::Sent(ClientMessage::Do {
        id: 3,
        raid: raid(),
        op: None,
        cmd: Command::Say {
            text: "well done".to_owned(),
        },
    });
    let refused = |error| {
        received(ServerMessage::Error {
            re: "do".to_owned(),
            id: Some(3),
            raid: Some(raid()),
            player: None,
            error: ErrorBody::new(error, "no"),
        })
    };
    case.ada[11] = sent.clone();
    case.ada.splice(
        13..14,
        [
            refused(ErrorType::Unavailable),
            sent,
            refused(ErrorType::WrongStatus),
        ],
    );
    case.judge().assert_no_violations();
}

#[test]
fn a_repeated_op_with_a_different_reply_is_a_violation() {
    let mut case = SampleCase::valid();
    case.ada.insert(
        14,
        command_entry(
            3,
            "a3",
            Command::Say {
                text: "well done".to_owned(),
            },
        ),
    );
    case.ada.insert(15, ack_entry(3, 7));
    case.assert_violation("ada", |kind| {
        matches!(
            kind,
            ViolationKind::AckChanged {
                first: Seq(8),
                then: Seq(7),
                ..
            }
        )
    });
}

#[test]
fn two_commands_acknowledged_with_one_event_are_a_violation() {
    let mut case = SampleCase::valid();
    case.ben.insert(
        17,
        command_entry(
            3,
            "b3",
            Command::Say {
                text: "well done".to_owned(),
            },
        ),
    );
    case.ben.insert(18, ack_entry(3, 8));
    case.assert_violation("ben", |kind| {
        *kind == ViolationKind::AckShared { seq: Seq(8) }
    });
}

#[test]
fn a_command_without_a_reply_after_the_run_is_a_violation() {
    let mut case = SampleCase::valid();
    case.ada.remove(13);
    case.assert_violation("ada", |kind| {
        *kind
            == ViolationKind::Unanswered {
                id: 3,
                command: "say",
            }
    });
}

#[test]
fn a_reply_to_no_request_is_a_violation() {
    let mut case = SampleCase::valid();
    case.ada.insert(14, ack_entry(3, 8));
    case.assert_violation("ada", |kind| {
        matches!(kind, ViolationKind::UnsolicitedAnswer { .. })
    });
}

#[test]
fn different_events_at_one_seq_for_two_clients_are_a_violation() {
    let mut case = SampleCase::valid();
    case.history[7].data = EventData::Said {
        text: "well done!".to_owned(),
    };
    case.ben[16] = received_event(&case.history[7]);
    case.assert_violation("ben", |kind| {
        matches!(kind, ViolationKind::DifferentEvent { seq: Seq(8), .. })
    });
    case.server_record = None;
    case.assert_violation("ben", |kind| {
        *kind
            == ViolationKind::DifferentEvent {
                seq: Seq(8),
                other: "ada".to_owned(),
            }
    });
}

#[test]
fn two_events_at_one_seq_for_one_client_are_a_violation() {
    let mut case = SampleCase::valid();
    case.history[7].data = EventData::Said {
        text: "well done!".to_owned(),
    };
    case.ada.insert(13, received_event(&case.history[7]));
    case.assert_violation("ada", |kind| {
        matches!(kind, ViolationKind::DifferentEvent { seq: Seq(8), .. })
    });
}

#[test]
fn a_snapshot_that_differs_from_the_folded_events_is_a_violation() {
    let mut case = SampleCase::valid();
    let Observation::Received(message) = snapshot_entry(7) else {
        unreachable!()
    };
    let ServerMessage::Snapshot {
        id: None,
        raid,
        seq,
        recovered,
        online,
        mut state,
    } = (*message).clone()
    else {
        unreachable!()
    };
    state.members[1].energy = 96;
    case.ada.insert(
        11,
        received(ServerMessage::Snapshot {
            id: None,
            raid,
            seq,
            recovered,
            online,
            state,
        }),
    );
    case.assert_violation("ada", |kind| {
        matches!(kind, ViolationKind::StateMismatch { seq: Seq(7), difference }
            if difference == ".members[1].energy received 96, folded 95")
    });
}

#[test]
fn a_final_state_that_differs_from_the_folded_events_is_a_violation() {
    let mut case = SampleCase::valid();
    case.server_record().state.tasks[0].claimed_at = None;
    case.assert_violation("server", |kind| {
        matches!(kind, ViolationKind::StateMismatch { seq: Seq(8), .. })
    });
}

#[test]
fn an_event_that_contradicts_the_state_is_a_violation() {
    let mut case = SampleCase::valid();
    case.history[5].data = EventData::TaskClaimed {
        task: task(2),
        player: player(6),
        energy: 90,
    };
    case.ada[9] = received_event(&case.history[5]);
    case.assert_violation("ada", |kind| {
        matches!(kind, ViolationKind::Contradiction { seq: Seq(6), .. })
    });
}

#[test]
fn totals_that_do_not_add_up_are_a_violation() {
    let mut case = SampleCase::valid();
    if let EventData::TaskCompleted { current_xp, .. } = &mut case.server_record().events[6].data {
        *current_xp = 80;
    }
    let wrong = |expected: &'static str| move |kind: &ViolationKind| matches!(kind, ViolationKind::TotalsWrong { what, .. } if what.contains(expected));
    case.assert_violation("server", wrong("current_xp in event 7"));
    let mut case = SampleCase::valid();
    case.server_record().profiles.push(Profile {
        id: player(6),
        name: "Ben".to_owned(),
        xp: 80,
        tasks: 1,
        raids_won: 0,
        created_at: UnixMillis(0),
    });
    case.assert_violation("server", wrong("xp in the profile of player 6"));
    let mut case = SampleCase::valid();
    case.server_record().contributions = Some(Vec::new());
    case.assert_violation("server", wrong("contributions"));
    let row = Contribution {
        seq: Seq(7),
        at: UnixMillis(0),
        player: player(6),
        xp: 40,
        kind: "task_complete".to_owned(),
        task: Some(task(1)),
        note: None,
    };
    case.server_record().contributions = Some(vec![row]);
    case.judge().assert_no_violations();
}

#[test]
fn a_client_that_never_receives_the_last_event_is_behind() {
    let mut case = SampleCase::valid();
    case.ben.remove(16);
    case.assert_violation("ben", |kind| {
        *kind
            == ViolationKind::IncompleteAtEnd {
                held: Seq(7),
                head: Seq(8),
            }
    });
}

#[test]
fn events_before_the_reply_to_a_watch_are_a_violation() {
    let mut case = SampleCase::valid();
    case.ben.swap(13, 14);
    case.assert_violation("ben", |kind| {
        matches!(kind, ViolationKind::NotWatching { what: "event" })
    });
}

#[test]
fn wrong_presence_at_the_end_of_a_run_is_a_violation() {
    let mut case = SampleCase::valid();
    let offline = vec![player(6)];
    case.ada.insert(
        12,
        received(ServerMessage::Presence {
            raid: raid(),
            online: Vec::new(),
            offline,
        }),
    );
    case.assert_violation("ada", |kind| {
        matches!(kind, ViolationKind::PresenceWrong { .. })
    });
    let mut case = SampleCase::valid();
    case.server_record().online.pop();
    case.assert_violation("server", |kind| {
        matches!(kind, ViolationKind::PresenceWrong { .. })
    });
}

#[test]
fn a_stranger_who_is_shown_online_at_the_end_is_a_violation() {
    let [member, stranger] = [true, false].map(|is_member| {
        let mut case = SampleCase::valid();
        if is_member {
            let joined = event(9, 7, joined(7, "Cal", Role::Member, 10));
            for log in [&mut case.ada, &mut case.ben] {
                log.pop();
                log.extend([received_event(&joined), settled_entry(9)]);
            }
            add_events(&mut case, [joined]);
        }
        let end = case.ada.len() - 1;
        case.ada.insert(end, presence_entry(&[7], &[]));
        case.server_record().online.push(player(7));
        case
    });
    // Of a member without a client log nothing is known.
    member.judge().assert_no_violations();
    for client in ["ada", "server"] {
        stranger.assert_violation(client, |kind| {
            matches!(kind, ViolationKind::PresenceWrong { .. })
        });
    }
}

#[test]
fn a_logged_member_who_is_shown_online_at_the_end_is_a_violation() {
    let mut case = SampleCase::valid();
    for log in [&mut case.ada, &mut case.ben] {
        if let Some(Observation::Settled { online, .. }) = log.last_mut() {
            online.retain(|shown| *shown != player(6));
        }
    }
    for client in ["ada", "server"] {
        case.assert_violation(client, |kind| {
            matches!(kind, ViolationKind::PresenceWrong { .. })
        });
    }
}

#[test]
fn undocumented_messages_and_errors_are_a_violation() {
    let mut case = SampleCase::valid();
    case.ada.insert(
        5,
        Observation::Unreadable {
            text: "surprise".to_owned(),
            error: false,
        },
    );
    case.assert_violation("ada", |kind| {
        matches!(kind, ViolationKind::UnknownMessage { .. })
    });
    case.ada[5] = Observation::Unreadable {
        text: "no".to_owned(),
        error: true,
    };
    case.assert_violation("ada", |kind| {
        matches!(kind, ViolationKind::ErrorNotTyped { .. })
    });
    let mut error = ErrorBody::new(ErrorType::Overloaded, "full");
    error.retry = false;
    let re = "signal".to_owned();
    case.ada[5] = received(ServerMessage::Error {
        re,
        id: None,
        raid: Some(raid()),
        player: None,
        error,
    });
    case.assert_violation("ada", |kind| {
        matches!(kind, ViolationKind::ErrorNotTyped { .. })
    });
}

#[test]
fn closing_a_well_behaved_client_for_good_is_a_violation() {
    let mut case = SampleCase::valid();
    case.ben[9] = Observation::Disconnected { code: Some(4000) };
    case.assert_violation("ben", |kind| {
        *kind == ViolationKind::ClosedPermanently { code: 4000 }
    });
    case.ben[9] = Observation::Disconnected { code: Some(4202) };
    case.judge().assert_no_violations();
}

#[test]
fn a_changed_lineage_and_a_wrong_signal_are_violations() {
    let mut case = SampleCase::valid();
    case.ben[10] = Observation::Connected {
        lineage: "0000".to_owned(),
        server: 0,
    };
    case.ada
        .insert(5, Observation::SignalWrong { from: player(5) });
    case.assert_violation("ben", |kind| *kind == ViolationKind::LineageChanged);
    case.assert_violation("ada", |kind| {
        matches!(kind, ViolationKind::SignalWrong { .. })
    });
}

#[test]
fn a_kick_may_remove_the_tasks_of_the_kicked_member_and_no_others() {
    let kicked_adds = |by| {
        let mut case = SampleCase::valid();
        let add = Command::AddTask {
            title: "junk".to_owned(),
            xp: 1,
            minutes: 5,
        };
        let added = EventData::TaskAdded {
            task: task(2),
            title: "junk".to_owned(),
            xp: 1,
            minutes: 5,
        };
        let left = EventData::MemberLeft {
            player: player(6),
            reason: LeaveReason::Kicked,
            released: Vec::new(),
        };
        let kick = Command::Kick { player: player(6) };
        case.history.extend([
            event(9, by, added),
            event(10, 5, left),
            event(11, 5, EventData::TaskRemoved { task: task(2) }),
        ]);
        let events: Vec<_> = case.history[8..].iter().map(received_event).collect();
        case.ada.pop();
        case.ben.pop();
        let adder = if by == 5 {
            &mut case.ada
        } else {
            &mut case.ben
        };
        adder.push(command_entry(4, "add", add));
        adder.push(events[0].clone());
        adder.push(ack_entry(4, 9));
        let other = if by == 5 {
            &mut case.ben
        } else {
            &mut case.ada
        };
        other.push(events[0].clone());
        case.ada.push(command_entry(5, "kick", kick));
        case.ada.extend_from_slice(&events[1..]);
        case.ada.push(ack_entry(5, 11));
        case.ada.push(received(ServerMessage::Presence {
            raid: raid(),
            online: Vec::new(),
            offline: vec![player(6)],
        }));
        case.ada.push(Observation::Settled {
            head: Seq(11),
            online: vec![player(5)],
        });
        case.ben.push(events[1].clone());
        let fold = Fold::from_events(raid(), &case.history).unwrap();
        let history = case.history.clone();
        let record = case.server_record();
        record.events = history;
        record.state = fold.state().unwrap().clone();
        record.seq = Seq(11);
        record.online = vec![player(5)];
        case
    };
    kicked_adds(6).judge().assert_no_violations();
    kicked_adds(5).assert_violation("server", |kind| {
        matches!(
            kind,
            ViolationKind::DoubleEffect {
                found: 1,
                allowed: 0,
                seq: Seq(11),
                ..
            }
        )
    });
}
