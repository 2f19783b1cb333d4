//! A judge that cannot convict is worthless: each way to break a promise is forged into an honest story.

use raidhall_loadtest::client_log::Observation;
use raidhall_loadtest::judge::ViolationKind;
use raidhall_protocol::rest::{Contribution, Profile};
use raidhall_protocol::{Command, ErrorBody, ErrorType, EventData, Seq, ServerMessage, UnixMillis};

use crate::sample_case::*;

#[test]
fn a_correct_run_has_no_violations() {
    let mut court = SampleCase::valid();
    let verdict = court.judge();
    verdict.assert_no_violations();
    assert_eq!(
        (verdict.history_events, verdict.acks, verdict.repeats),
        (8, 5, 1)
    );
    assert_eq!(
        (verdict.resumes, verdict.replays, verdict.snapshots),
        (1, 1, 2)
    );
    court.server_record = None;
    court.judge().assert_no_violations();
}

#[test]
fn a_left_out_event_is_a_hole() {
    let mut court = SampleCase::valid();
    court.ada.remove(9);
    court.assert_violation("ada", |breach| {
        *breach
            == ViolationKind::Gap {
                held: Seq(5),
                got: Seq(7),
            }
    });
}

#[test]
fn a_partial_replay_is_a_hole() {
    let mut court = SampleCase::valid();
    court.ben.remove(14);
    court.assert_violation("ben", |breach| {
        *breach
            == ViolationKind::Gap {
                held: Seq(6),
                got: Seq(8),
            }
    });
}

#[test]
fn a_missing_event_in_the_server_ledger_is_a_hole() {
    let mut court = SampleCase::valid();
    court.server_record().events.remove(5);
    court.assert_violation("server", |breach| {
        *breach
            == ViolationKind::Gap {
                held: Seq(5),
                got: Seq(7),
            }
    });
    court.assert_violation("ada", |breach| {
        matches!(breach, ViolationKind::DifferentEvent { seq: Seq(6), .. })
    });
    court.assert_violation("ben", |breach| {
        matches!(breach, ViolationKind::AckWithoutEvent { seq: Seq(6), .. })
    });
}

#[test]
fn the_same_event_twice_is_a_duplicate() {
    let mut court = SampleCase::valid();
    court.ada.insert(10, received_event(&court.history[5]));
    court.assert_violation("ada", |breach| {
        *breach == ViolationKind::Duplicate { seq: Seq(6) }
    });
    let mut court = SampleCase::valid();
    let again = court.history[7].clone();
    court.server_record().events.push(again);
    court.assert_violation("server", |breach| {
        *breach == ViolationKind::Duplicate { seq: Seq(8) }
    });
}

#[test]
fn an_older_snapshot_takes_the_client_back_in_time() {
    let mut court = SampleCase::valid();
    court.ada.insert(10, snapshot_entry(4));
    court.assert_violation("ada", |breach| {
        *breach
            == ViolationKind::SeqWentBack {
                held: Seq(6),
                got: Seq(4),
            }
    });
}

#[test]
fn a_resume_before_the_clients_seq_takes_it_back_in_time() {
    let mut court = SampleCase::valid();
    court.ben[13] = watching_entry(5);
    court.assert_violation("ben", |breach| {
        *breach
            == ViolationKind::SeqWentBack {
                held: Seq(6),
                got: Seq(5),
            }
    });
}

#[test]
fn an_event_stamped_before_its_predecessor_is_a_violation() {
    let mut court = SampleCase::valid();
    court.history[7].at = UnixMillis(5);
    let late = court.history[7].clone();
    court.server_record().events[7] = late;
    court.ada[12] = received_event(&court.history[7]);
    court.assert_violation("ada", |breach| {
        *breach == ViolationKind::ClockWentBack { seq: Seq(8) }
    });
    court.assert_violation("server", |breach| {
        *breach == ViolationKind::ClockWentBack { seq: Seq(8) }
    });
}

#[test]
fn an_ack_before_its_event_is_a_violation_only_while_watching() {
    let mut court = SampleCase::valid();
    court.ada.swap(4, 5);
    court.assert_violation("ada", |breach| {
        *breach
            == ViolationKind::AckBeforeEvent {
                seq: Seq(4),
                held: Seq(3),
            }
    });
    let mut court = SampleCase::valid();
    court.ben.swap(13, 15); // ack, event, answer to the watch
    court.assert_violation("ben", |breach| {
        matches!(breach, ViolationKind::AckBeforeEvent { seq: Seq(7), .. })
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
    alone.judge().assert_no_violations();
}

#[test]
fn an_ack_without_an_event_is_a_violation() {
    let mut court = SampleCase::valid();
    court.server_record().events.pop();
    court.server_record().seq = Seq(7);
    court.assert_violation("ada", |breach| {
        matches!(
            breach,
            ViolationKind::AckWithoutEvent {
                seq: Seq(8),
                op: Some(_)
            }
        )
    });
}

#[test]
fn an_acknowledged_command_missing_at_its_seq_is_a_violation() {
    let mut court = SampleCase::valid();
    for text in ["hello", "there"] {
        // All clients are told the same wrong event: only the command's sender can notice.
        court.history[7].data = EventData::Said {
            text: text.to_owned(),
        };
        let other = court.history[7].clone();
        court.server_record().events[7] = other;
        court.ada[12] = received_event(&court.history[7]);
        court.ben[16] = received_event(&court.history[7]);
    }
    court.assert_violation("ada", |breach| {
        matches!(
            breach,
            ViolationKind::AckMismatch {
                seq: Seq(8),
                command: "say",
                ..
            }
        )
    });
    court.assert_violation("server", |breach| {
        matches!(breach, ViolationKind::MissingEffect { found: 0, .. })
    });
    court.assert_violation("server", |breach| {
        matches!(breach, ViolationKind::DoubleEffect { allowed: 0, .. })
    });
}

#[test]
fn an_op_that_took_effect_twice_is_a_violation() {
    let mut court = SampleCase::valid();
    let twice = event(
        9,
        5,
        EventData::Said {
            text: "well done".to_owned(),
        },
    );
    court.server_record().events.push(twice);
    court.assert_violation("server", |breach| {
        matches!(
            breach,
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
    let mut court = SampleCase::valid();
    let error = ErrorBody::new(ErrorType::WrongStatus, "no");
    court.ada[13] = received(ServerMessage::Error {
        re: "do".to_owned(),
        id: Some(3),
        raid: Some(raid()),
        error,
    });
    court.assert_violation("server", |breach| {
        matches!(
            breach,
            ViolationKind::DoubleEffect {
                found: 1,
                allowed: 0,
                ..
            }
        )
    });
}

#[test]
fn a_repeated_op_with_a_different_reply_is_a_violation() {
    let mut court = SampleCase::valid();
    court.ada.insert(
        14,
        command_entry(
            3,
            "a3",
            Command::Say {
                text: "well done".to_owned(),
            },
        ),
    );
    court.ada.insert(15, ack_entry(3, 7));
    court.assert_violation("ada", |breach| {
        matches!(
            breach,
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
    let mut court = SampleCase::valid();
    court.ben.insert(
        17,
        command_entry(
            3,
            "b3",
            Command::Say {
                text: "well done".to_owned(),
            },
        ),
    );
    court.ben.insert(18, ack_entry(3, 8));
    court.assert_violation("ben", |breach| {
        *breach == ViolationKind::AckShared { seq: Seq(8) }
    });
}

#[test]
fn a_command_without_a_reply_after_the_run_is_a_violation() {
    let mut court = SampleCase::valid();
    court.ada.remove(13);
    court.assert_violation("ada", |breach| {
        *breach
            == ViolationKind::Unanswered {
                id: 3,
                command: "say",
            }
    });
}

#[test]
fn a_reply_to_no_request_is_a_violation() {
    let mut court = SampleCase::valid();
    court.ada.insert(14, ack_entry(3, 8));
    court.assert_violation("ada", |breach| {
        matches!(breach, ViolationKind::UnsolicitedAnswer { .. })
    });
}

#[test]
fn different_events_at_one_seq_for_two_clients_are_a_violation() {
    let mut court = SampleCase::valid();
    court.history[7].data = EventData::Said {
        text: "well done!".to_owned(),
    };
    court.ben[16] = received_event(&court.history[7]);
    court.assert_violation("ben", |breach| {
        matches!(breach, ViolationKind::DifferentEvent { seq: Seq(8), .. })
    });
    court.server_record = None;
    court.assert_violation("ben", |breach| {
        *breach
            == ViolationKind::DifferentEvent {
                seq: Seq(8),
                other: "ada".to_owned(),
            }
    });
}

#[test]
fn two_events_at_one_seq_for_one_client_are_a_violation() {
    let mut court = SampleCase::valid();
    court.history[7].data = EventData::Said {
        text: "well done!".to_owned(),
    };
    court.ada.insert(13, received_event(&court.history[7]));
    court.assert_violation("ada", |breach| {
        matches!(breach, ViolationKind::DifferentEvent { seq: Seq(8), .. })
    });
}

#[test]
fn a_snapshot_that_differs_from_the_folded_events_is_a_violation() {
    let mut court = SampleCase::valid();
    let Observation::Received(message) = snapshot_entry(7) else {
        unreachable!()
    };
    let ServerMessage::Snapshot {
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
    court.ada.insert(
        11,
        received(ServerMessage::Snapshot {
            raid,
            seq,
            recovered,
            online,
            state,
        }),
    );
    court.assert_violation("ada", |breach| {
        matches!(breach, ViolationKind::StateMismatch { seq: Seq(7), difference }
            if difference == ".members[1].energy told 96, folded 95")
    });
}

#[test]
fn a_final_state_that_differs_from_the_folded_events_is_a_violation() {
    let mut court = SampleCase::valid();
    court.server_record().state.tasks[0].claimed_at = None;
    court.assert_violation("server", |breach| {
        matches!(breach, ViolationKind::StateMismatch { seq: Seq(8), .. })
    });
}

#[test]
fn an_event_that_contradicts_the_state_is_a_violation() {
    let mut court = SampleCase::valid();
    court.history[5].data = EventData::TaskClaimed {
        task: task(2),
        player: player(6),
        energy: 90,
    };
    court.ada[9] = received_event(&court.history[5]);
    court.assert_violation("ada", |breach| {
        matches!(breach, ViolationKind::Contradiction { seq: Seq(6), .. })
    });
}

#[test]
fn totals_that_do_not_add_up_are_a_violation() {
    let mut court = SampleCase::valid();
    if let EventData::TaskCompleted { current_xp, .. } = &mut court.server_record().events[6].data {
        *current_xp = 80;
    }
    let wrong = |what: &'static str| move |breach: &ViolationKind| matches!(breach, ViolationKind::TotalsWrong { what: told, .. } if told.contains(what));
    court.assert_violation("server", wrong("current_xp in event 7"));
    let mut court = SampleCase::valid();
    court.server_record().profiles.push(Profile {
        id: player(6),
        name: "Ben".to_owned(),
        xp: 80,
        tasks: 1,
        raids_won: 0,
        created_at: UnixMillis(0),
    });
    court.assert_violation("server", wrong("xp in the profile of player 6"));
    let mut court = SampleCase::valid();
    court.server_record().contributions = Some(Vec::new());
    court.assert_violation("server", wrong("contributions"));
    let row = Contribution {
        seq: Seq(7),
        at: UnixMillis(0),
        player: player(6),
        xp: 40,
        kind: "task_complete".to_owned(),
        task: Some(task(1)),
        note: None,
    };
    court.server_record().contributions = Some(vec![row]);
    court.judge().assert_no_violations();
}

#[test]
fn a_client_that_never_receives_the_last_event_is_behind() {
    let mut court = SampleCase::valid();
    court.ben.remove(16);
    court.assert_violation("ben", |breach| {
        *breach
            == ViolationKind::IncompleteAtEnd {
                held: Seq(7),
                head: Seq(8),
            }
    });
}

#[test]
fn events_before_the_reply_to_a_watch_are_a_violation() {
    let mut court = SampleCase::valid();
    court.ben.swap(13, 14);
    court.assert_violation("ben", |breach| {
        matches!(breach, ViolationKind::NotWatching { what: "event" })
    });
}

#[test]
fn wrong_presence_at_the_end_of_a_run_is_a_violation() {
    let mut court = SampleCase::valid();
    let offline = vec![player(6)];
    court.ada.insert(
        12,
        received(ServerMessage::Presence {
            raid: raid(),
            online: Vec::new(),
            offline,
        }),
    );
    court.assert_violation("ada", |breach| {
        matches!(breach, ViolationKind::PresenceWrong { .. })
    });
    let mut court = SampleCase::valid();
    court.server_record().online.pop();
    court.assert_violation("server", |breach| {
        matches!(breach, ViolationKind::PresenceWrong { .. })
    });
}

#[test]
fn undocumented_messages_and_errors_are_a_violation() {
    let mut court = SampleCase::valid();
    court.ada.insert(
        5,
        Observation::Unreadable {
            text: "surprise".to_owned(),
            error: false,
        },
    );
    court.assert_violation("ada", |breach| {
        matches!(breach, ViolationKind::UnknownMessage { .. })
    });
    court.ada[5] = Observation::Unreadable {
        text: "no".to_owned(),
        error: true,
    };
    court.assert_violation("ada", |breach| {
        matches!(breach, ViolationKind::ErrorNotTyped { .. })
    });
    let mut error = ErrorBody::new(ErrorType::Overloaded, "full");
    error.retry = false;
    let re = "signal".to_owned();
    court.ada[5] = received(ServerMessage::Error {
        re,
        id: None,
        raid: Some(raid()),
        error,
    });
    court.assert_violation("ada", |breach| {
        matches!(breach, ViolationKind::ErrorNotTyped { .. })
    });
}

#[test]
fn closing_a_well_behaved_client_for_good_is_a_violation() {
    let mut court = SampleCase::valid();
    court.ben[9] = Observation::Disconnected { code: Some(4000) };
    court.assert_violation("ben", |breach| {
        *breach == ViolationKind::ClosedPermanently { code: 4000 }
    });
    court.ben[9] = Observation::Disconnected { code: Some(4202) };
    court.judge().assert_no_violations();
}

#[test]
fn a_changed_lineage_and_a_wrong_signal_are_violations() {
    let mut court = SampleCase::valid();
    court.ben[10] = Observation::Connected {
        lineage: "0000".to_owned(),
        server: 0,
    };
    court
        .ada
        .insert(5, Observation::SignalWrong { from: player(5) });
    court.assert_violation("ben", |breach| *breach == ViolationKind::LineageChanged);
    court.assert_violation("ada", |breach| {
        matches!(breach, ViolationKind::SignalWrong { .. })
    });
}
