//! Violations that one device's log shows, by itself or beside the player's stream.

use raidhall_loadtest::client_log::{LogEntry, Moment, Observation, StreamLog};
use raidhall_loadtest::judge::{StreamCase, StreamRecord, StreamViolationKind, judge_players};
use raidhall_protocol::Seq;
use raidhall_protocol::player::{PlayerEventData, PlayerMessage};

use super::sample_stream::*;
use crate::sample_case::{DISCONNECTED, player};

#[test]
fn two_devices_that_follow_a_correct_stream_have_no_violations() {
    let verdict = StreamSample::valid().judge();
    assert_eq!(verdict.violations, []);
    assert_eq!((verdict.stream_events, verdict.effects), (14, 13));
    assert_eq!((verdict.received_events, verdict.acks), (26, 1));
    assert_eq!(verdict.resumes, 1);
    assert_eq!(verdict.state_hashes.len(), 2);
    assert_eq!(verdict.state_hashes[0], verdict.state_hashes[1]);
}

#[test]
fn an_event_that_was_left_out_is_a_gap() {
    let gap = StreamViolationKind::Gap {
        held: Seq(2),
        got: Seq(4),
    };
    assert_only("phone", gap, |case| drop(case.phone.remove(6)));
}

#[test]
fn an_event_that_comes_twice_is_a_duplicate() {
    assert_only(
        "phone",
        StreamViolationKind::Duplicate { seq: Seq(3) },
        |case| case.phone.insert(7, case.phone[6].clone()),
    );
}

#[test]
fn an_event_that_differs_from_the_stream_is_a_violation() {
    let found = find(|case| {
        let mut event = case.stream[at(2)].clone();
        event.at.0 -= 1;
        case.laptop[3] = told(&event);
    });
    let [(client, StreamViolationKind::DifferentEvent { seq: Seq(2), .. })] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(client, "laptop");
}

#[test]
fn an_event_that_the_stream_does_not_have_is_a_violation() {
    let found = find(|case| {
        let mut event = case.stream[at(2)].clone();
        event.seq = Seq(END + 1);
        event.at = case.stream[at(ENDED)].at;
        case.phone.insert(PHONE_END, told(&event));
    });
    assert!(
        matches!(&found[0].1, StreamViolationKind::DifferentEvent { seq: Seq(15), recorded, .. }
            if recorded == "None"),
        "{found:?}"
    );
}

#[test]
fn an_event_with_an_earlier_time_than_the_one_before_is_a_violation() {
    let found = find(|case| {
        let mut event = case.stream[at(4)].clone();
        event.at.0 -= 10_000;
        case.phone[7] = told(&event);
    });
    let went_back = StreamViolationKind::ClockWentBack { seq: Seq(4) };
    assert!(
        found.contains(&("phone".to_owned(), went_back)),
        "{found:?}"
    );
}

#[test]
fn a_snapshot_behind_what_the_device_held_is_a_step_back() {
    assert_only(
        "laptop",
        StreamViolationKind::SeqWentBack {
            held: Seq(3),
            got: Seq(1),
        },
        |case| {
            case.laptop[8] = snapshot(1);
            let missed = [case.laptop[3].clone(), case.laptop[4].clone()];
            case.laptop.splice(9..9, missed);
        },
    );
}

#[test]
fn a_snapshot_that_is_not_the_fold_of_the_stream_is_a_violation() {
    let found = find(|case| {
        let Observation::Received(message) = snapshot(END as usize) else {
            unreachable!("a snapshot is received");
        };
        let mut message = (*message).clone();
        if let raidhall_protocol::ServerMessage::Player(PlayerMessage::Snapshot { state, .. }) =
            &mut message
        {
            state.xp += 1;
        }
        case.laptop.truncate(8);
        case.laptop.push(crate::sample_case::received(message));
        case.laptop.push(settled(END));
    });
    let is_wrong = |(client, kind): &(String, StreamViolationKind)| {
        client == "laptop"
            && matches!(kind, StreamViolationKind::StateMismatch { seq: Seq(END), difference }
                if difference == ".xp received 331, folded 330")
    };
    assert!(!found.is_empty() && found.iter().all(is_wrong), "{found:?}");
}

#[test]
fn messages_that_nothing_asked_for_are_violations() {
    let unsolicited = |what| StreamViolationKind::Unsolicited { what };
    assert_only("phone", unsolicited("a snapshot"), |case| {
        case.phone.insert(PHONE_END, snapshot(END as usize));
    });
    assert_only("phone", unsolicited("an ack"), |case| {
        case.phone.insert(PHONE_END, ack(9, END));
    });
    assert_only("laptop", unsolicited("watching"), |case| {
        case.laptop.insert(5, watching(3));
    });
    let found = find(|case| case.laptop.insert(7, case.laptop[9].clone()));
    assert_eq!(found[0], ("laptop".to_owned(), unsolicited("an event")));
    assert_only("phone", unsolicited("an event"), |case| {
        let event = case.stream[at(3)].clone();
        case.phone[6] = stream_message(PlayerMessage::Event {
            player: player(5),
            event: Box::new(event),
        });
    });
}

#[test]
fn an_unreadable_frame_is_a_violation() {
    let text = "surprise".to_owned();
    assert_only(
        "phone",
        StreamViolationKind::Unreadable { text: text.clone() },
        |case| {
            case.phone
                .insert(PHONE_END, Observation::Unreadable { text, error: false });
        },
    );
}

#[test]
fn a_device_that_lacks_the_end_of_the_stream_is_a_violation() {
    assert_only(
        "laptop",
        StreamViolationKind::IncompleteAtEnd {
            held: Seq(END - 1),
            head: Seq(END),
        },
        |case| drop(case.laptop.remove(LAPTOP_END - 1)),
    );
    assert_only("laptop", StreamViolationKind::NeverSettled, |case| {
        case.laptop.truncate(LAPTOP_END);
    });
    assert_only(
        "phone",
        StreamViolationKind::IncompleteAtEnd {
            held: Seq(END),
            head: Seq(END),
        },
        |case| case.phone.insert(PHONE_END, DISCONNECTED),
    );
}

#[test]
fn devices_that_end_with_other_states_are_convicted_by_state_and_hash() {
    let mut case = StreamSample::valid();
    let mut event = case.stream[at(2)].clone();
    if let PlayerEventData::SettingSet { key, .. } = &mut event.data {
        *key = "app.m".to_owned();
    }
    case.laptop[3] = told(&event);
    let verdict = case.judge();
    let kinds: Vec<_> = verdict.violations.into_iter().map(|it| it.kind).collect();
    assert!(
        matches!(&kinds[..], [
            StreamViolationKind::DifferentEvent { seq: Seq(2), .. },
            StreamViolationKind::StateMismatch { seq: Seq(END), difference },
        ] if difference.contains(".settings.app.m")),
        "{kinds:?}"
    );
    assert_ne!(verdict.state_hashes[0], verdict.state_hashes[1]);
}

#[test]
fn a_player_without_raids_is_judged_too() {
    let entry = |observation| LogEntry {
        at: Moment(0),
        observation,
    };
    let record = StreamRecord {
        player: ben(),
        events: Vec::new(),
        states: Vec::new(),
        profile: None,
    };
    let devices = vec![StreamLog {
        client: "phone".to_owned(),
        player: player(6),
        entries: vec![entry(connected()), entry(settled(0))],
    }];
    let grants = Vec::new();
    let case = StreamCase {
        record,
        devices,
        grants,
    };
    let verdict = judge_players(&[case], &[]);
    let incomplete = StreamViolationKind::IncompleteAtEnd {
        held: Seq(0),
        head: Seq(0),
    };
    let kinds: Vec<_> = verdict.violations.into_iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [incomplete], "the device does not watch");
}
