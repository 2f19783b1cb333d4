//! A judge that cannot convict is worthless: each way to break a promise is forged into an honest story.

use raidhall_loadtest::judge::Breach;
use raidhall_loadtest::ledger::Entry;
use raidhall_protocol::rest::{Contribution, Profile};
use raidhall_protocol::{Command, ErrorBody, ErrorType, EventData, Seq, ServerMessage, UnixMillis};

use crate::court::*;

#[test]
fn an_honest_story_is_innocent() {
    let mut court = Court::honest();
    let verdict = court.judge();
    verdict.expect_innocent();
    assert_eq!((verdict.history, verdict.acks, verdict.repeats), (8, 5, 1));
    assert_eq!(
        (verdict.resumes, verdict.replays, verdict.snapshots),
        (1, 1, 2)
    );
    court.truth = None;
    court.judge().expect_innocent();
}

#[test]
fn a_left_out_event_is_a_hole() {
    let mut court = Court::honest();
    court.ada.remove(9);
    court.convict("ada", |breach| {
        *breach
            == Breach::Hole {
                held: Seq(5),
                got: Seq(7),
            }
    });
}

#[test]
fn a_partial_replay_is_a_hole() {
    let mut court = Court::honest();
    court.ben.remove(14);
    court.convict("ben", |breach| {
        *breach
            == Breach::Hole {
                held: Seq(6),
                got: Seq(8),
            }
    });
}

#[test]
fn a_hole_in_the_server_s_ledger_is_a_hole() {
    let mut court = Court::honest();
    court.truth().events.remove(5);
    court.convict("server", |breach| {
        *breach
            == Breach::Hole {
                held: Seq(5),
                got: Seq(7),
            }
    });
    court.convict("ada", |breach| {
        matches!(breach, Breach::DifferentEvent { seq: Seq(6), .. })
    });
    court.convict("ben", |breach| {
        matches!(breach, Breach::AckWithoutEvent { seq: Seq(6), .. })
    });
}

#[test]
fn the_same_event_twice_is_a_duplicate() {
    let mut court = Court::honest();
    court.ada.insert(10, told_event(&court.history[5]));
    court.convict("ada", |breach| *breach == Breach::Duplicate { seq: Seq(6) });
    let mut court = Court::honest();
    let again = court.history[7].clone();
    court.truth().events.push(again);
    court.convict("server", |breach| {
        *breach == Breach::Duplicate { seq: Seq(8) }
    });
}

#[test]
fn an_older_snapshot_goes_back_in_time() {
    let mut court = Court::honest();
    court.ada.insert(10, snapshot(4));
    court.convict("ada", |breach| {
        *breach
            == Breach::BackInTime {
                held: Seq(6),
                got: Seq(4),
            }
    });
}

#[test]
fn a_resume_behind_the_client_goes_back_in_time() {
    let mut court = Court::honest();
    court.ben[13] = watching(5);
    court.convict("ben", |breach| {
        *breach
            == Breach::BackInTime {
                held: Seq(6),
                got: Seq(5),
            }
    });
}

#[test]
fn an_event_older_than_the_one_before_it_turns_the_clock_back() {
    let mut court = Court::honest();
    court.history[7].at = UnixMillis(5);
    let late = court.history[7].clone();
    court.truth().events[7] = late;
    court.ada[12] = told_event(&court.history[7]);
    court.convict("ada", |breach| *breach == Breach::ClockBack { seq: Seq(8) });
    court.convict("server", |breach| {
        *breach == Breach::ClockBack { seq: Seq(8) }
    });
}

#[test]
fn an_ack_ahead_of_its_event_is_convicted_on_a_watching_connection_only() {
    let mut court = Court::honest();
    court.ada.swap(4, 5);
    court.convict("ada", |breach| {
        *breach
            == Breach::AckBeforeEvent {
                seq: Seq(4),
                held: Seq(3),
            }
    });
    let mut court = Court::honest();
    court.ben.swap(13, 15); // ack, event, answer to the watch
    court.convict("ben", |breach| {
        matches!(breach, Breach::AckBeforeEvent { seq: Seq(7), .. })
    });
    let mut alone = Court::honest();
    alone.ben.drain(10..14); // reconnected, and never watched again
    alone.ben.insert(10, connected());
    alone
        .ben
        .insert(11, sent(2, "b2", Command::CompleteTask { task: task(1) }));
    alone.ben.remove(12);
    alone.ben.retain(|entry| {
        !matches!(entry, Entry::Received(message)
            if matches!(&**message, ServerMessage::Event { event, .. } if event.seq > Seq(6)))
    });
    alone.judge().expect_innocent();
}

#[test]
fn an_ack_of_nothing_is_convicted() {
    let mut court = Court::honest();
    court.truth().events.pop();
    court.truth().seq = Seq(7);
    court.convict("ada", |breach| {
        matches!(
            breach,
            Breach::AckWithoutEvent {
                seq: Seq(8),
                op: Some(_)
            }
        )
    });
}

#[test]
fn an_acknowledged_command_that_is_not_where_it_was_acknowledged_is_lost() {
    let mut court = Court::honest();
    for text in ["hello", "there"] {
        // The same wrong story to everybody: only the command's sender can tell.
        court.history[7].data = EventData::Said {
            text: text.to_owned(),
        };
        let other = court.history[7].clone();
        court.truth().events[7] = other;
        court.ada[12] = told_event(&court.history[7]);
        court.ben[16] = told_event(&court.history[7]);
    }
    court.convict("ada", |breach| {
        matches!(
            breach,
            Breach::LostAck {
                seq: Seq(8),
                command: "say",
                ..
            }
        )
    });
    court.convict("server", |breach| {
        matches!(breach, Breach::MissingEffect { found: 0, .. })
    });
    court.convict("server", |breach| {
        matches!(breach, Breach::DoubleEffect { allowed: 0, .. })
    });
}

#[test]
fn an_op_that_took_effect_twice_is_convicted() {
    let mut court = Court::honest();
    let twice = event(
        9,
        5,
        EventData::Said {
            text: "well done".to_owned(),
        },
    );
    court.truth().events.push(twice);
    court.convict("server", |breach| {
        matches!(
            breach,
            Breach::DoubleEffect {
                found: 2,
                allowed: 1,
                seq: Seq(9),
                ..
            }
        )
    });
}

#[test]
fn a_refused_command_that_took_effect_is_convicted() {
    let mut court = Court::honest();
    let error = ErrorBody::new(ErrorType::WrongStatus, "no");
    court.ada[13] = told(ServerMessage::Error {
        re: "do".to_owned(),
        id: Some(3),
        raid: Some(raid()),
        error,
    });
    court.convict("server", |breach| {
        matches!(
            breach,
            Breach::DoubleEffect {
                found: 1,
                allowed: 0,
                ..
            }
        )
    });
}

#[test]
fn a_repeat_that_gets_another_answer_is_convicted() {
    let mut court = Court::honest();
    court.ada.insert(
        14,
        sent(
            3,
            "a3",
            Command::Say {
                text: "well done".to_owned(),
            },
        ),
    );
    court.ada.insert(15, ack(3, 7));
    court.convict("ada", |breach| {
        matches!(
            breach,
            Breach::AckChanged {
                first: Seq(8),
                then: Seq(7),
                ..
            }
        )
    });
}

#[test]
fn two_commands_of_one_event_are_convicted() {
    let mut court = Court::honest();
    court.ben.insert(
        17,
        sent(
            3,
            "b3",
            Command::Say {
                text: "well done".to_owned(),
            },
        ),
    );
    court.ben.insert(18, ack(3, 8));
    court.convict("ben", |breach| *breach == Breach::AckShared { seq: Seq(8) });
}

#[test]
fn a_command_without_an_answer_is_convicted_once_the_run_has_settled() {
    let mut court = Court::honest();
    court.ada.remove(13);
    court.convict("ada", |breach| {
        *breach
            == Breach::Unanswered {
                id: 3,
                command: "say",
            }
    });
}

#[test]
fn an_answer_to_nothing_is_convicted() {
    let mut court = Court::honest();
    court.ada.insert(14, ack(3, 8));
    court.convict("ada", |breach| matches!(breach, Breach::Unasked { .. }));
}

#[test]
fn two_clients_with_different_events_at_one_seq_are_noticed_with_and_without_the_server_s_ledger() {
    let mut court = Court::honest();
    court.history[7].data = EventData::Said {
        text: "well done!".to_owned(),
    };
    court.ben[16] = told_event(&court.history[7]);
    court.convict("ben", |breach| {
        matches!(breach, Breach::DifferentEvent { seq: Seq(8), .. })
    });
    court.truth = None;
    court.convict("ben", |breach| {
        *breach
            == Breach::DifferentEvent {
                seq: Seq(8),
                other: "ada".to_owned(),
            }
    });
}

#[test]
fn one_client_told_two_events_of_one_seq_is_noticed() {
    let mut court = Court::honest();
    court.history[7].data = EventData::Said {
        text: "well done!".to_owned(),
    };
    court.ada.insert(13, told_event(&court.history[7]));
    court.convict("ada", |breach| {
        matches!(breach, Breach::DifferentEvent { seq: Seq(8), .. })
    });
}

#[test]
fn a_snapshot_that_is_not_what_the_events_make_is_convicted() {
    let mut court = Court::honest();
    let Entry::Received(message) = snapshot(7) else {
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
        told(ServerMessage::Snapshot {
            raid,
            seq,
            recovered,
            online,
            state,
        }),
    );
    court.convict("ada", |breach| {
        matches!(breach, Breach::StateMismatch { seq: Seq(7), difference }
            if difference == ".members[1].energy told 96, folded 95")
    });
}

#[test]
fn a_final_state_that_is_not_what_the_events_make_is_convicted() {
    let mut court = Court::honest();
    court.truth().state.tasks[0].claimed_at = None;
    court.convict("server", |breach| {
        matches!(breach, Breach::StateMismatch { seq: Seq(8), .. })
    });
}

#[test]
fn an_impossible_event_is_convicted() {
    let mut court = Court::honest();
    court.history[5].data = EventData::TaskClaimed {
        task: task(2),
        player: player(6),
        energy: 90,
    };
    court.ada[9] = told_event(&court.history[5]);
    court.convict("ada", |breach| {
        matches!(breach, Breach::Contradiction { seq: Seq(6), .. })
    });
}

#[test]
fn sums_that_do_not_add_up_are_convicted() {
    let mut court = Court::honest();
    if let EventData::TaskCompleted { current_xp, .. } = &mut court.truth().events[6].data {
        *current_xp = 80;
    }
    let wrong = |what: &'static str| move |breach: &Breach| matches!(breach, Breach::TotalsWrong { what: told, .. } if told.contains(what));
    court.convict("server", wrong("current_xp in event 7"));
    let mut court = Court::honest();
    court.truth().profiles.push(Profile {
        id: player(6),
        name: "Ben".to_owned(),
        xp: 80,
        tasks: 1,
        raids_won: 0,
        created_at: UnixMillis(0),
    });
    court.convict("server", wrong("xp in the profile of player 6"));
    let mut court = Court::honest();
    court.truth().contributions = Some(Vec::new());
    court.convict("server", wrong("contributions"));
    let row = Contribution {
        seq: Seq(7),
        at: UnixMillis(0),
        player: player(6),
        xp: 40,
        kind: "task_complete".to_owned(),
        task: Some(task(1)),
        note: None,
    };
    court.truth().contributions = Some(vec![row]);
    court.judge().expect_innocent();
}

#[test]
fn a_client_that_is_never_told_the_end_is_behind() {
    let mut court = Court::honest();
    court.ben.remove(16);
    court.convict("ben", |breach| {
        *breach
            == Breach::Behind {
                held: Seq(7),
                head: Seq(8),
            }
    });
}

#[test]
fn events_before_the_answer_to_a_watch_are_convicted() {
    let mut court = Court::honest();
    court.ben.swap(13, 14);
    court.convict("ben", |breach| {
        matches!(breach, Breach::NotWatching { what: "event" })
    });
}

#[test]
fn presence_that_is_wrong_at_rest_is_convicted() {
    let mut court = Court::honest();
    let offline = vec![player(6)];
    court.ada.insert(
        12,
        told(ServerMessage::Presence {
            raid: raid(),
            online: Vec::new(),
            offline,
        }),
    );
    court.convict("ada", |breach| {
        matches!(breach, Breach::PresenceWrong { .. })
    });
    let mut court = Court::honest();
    court.truth().online.pop();
    court.convict("server", |breach| {
        matches!(breach, Breach::PresenceWrong { .. })
    });
}

#[test]
fn messages_and_errors_outside_the_contract_are_convicted() {
    let mut court = Court::honest();
    court.ada.insert(
        5,
        Entry::Unreadable {
            text: "surprise".to_owned(),
            error: false,
        },
    );
    court.convict("ada", |breach| {
        matches!(breach, Breach::UnknownMessage { .. })
    });
    court.ada[5] = Entry::Unreadable {
        text: "no".to_owned(),
        error: true,
    };
    court.convict("ada", |breach| {
        matches!(breach, Breach::ErrorNotTyped { .. })
    });
    let mut error = ErrorBody::new(ErrorType::Overloaded, "full");
    error.retry = false;
    let re = "signal".to_owned();
    court.ada[5] = told(ServerMessage::Error {
        re,
        id: None,
        raid: Some(raid()),
        error,
    });
    court.convict("ada", |breach| {
        matches!(breach, Breach::ErrorNotTyped { .. })
    });
}

#[test]
fn a_well_behaved_client_sent_away_for_good_is_convicted() {
    let mut court = Court::honest();
    court.ben[9] = Entry::Disconnected { code: Some(4000) };
    court.convict("ben", |breach| {
        *breach == Breach::ClosedForGood { code: 4000 }
    });
    court.ben[9] = Entry::Disconnected { code: Some(4202) };
    court.judge().expect_innocent();
}

#[test]
fn another_lineage_and_a_wrong_signal_are_convicted() {
    let mut court = Court::honest();
    court.ben[10] = Entry::Connected {
        lineage: "0000".to_owned(),
        server: 0,
    };
    court.ada.insert(5, Entry::SignalWrong { from: player(5) });
    court.convict("ben", |breach| *breach == Breach::LineageChanged);
    court.convict("ada", |breach| matches!(breach, Breach::SignalWrong { .. }));
}
