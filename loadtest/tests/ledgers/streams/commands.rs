//! Violations of commands to a player's stream.

use raidhall_loadtest::client_log::Observation;
use raidhall_loadtest::judge::StreamViolationKind;
use raidhall_protocol::player::{PlayerCommand, PlayerEventData, PlayerRequest};
use raidhall_protocol::{ClientMessage, ErrorBody, ErrorType, Seq, ServerMessage};

use super::sample_stream::*;
use crate::sample_case::{DISCONNECTED, op, player, received};

fn refusal(r#type: ErrorType) -> Observation {
    received(ServerMessage::Error {
        re: "do".to_owned(),
        id: Some(2),
        raid: None,
        player: Some(player(6)),
        error: ErrorBody::new(r#type, "no"),
    })
}

/// Adds an event of a setting to the end of the stream and of the devices.
fn append(case: &mut StreamSample, value: &str, version: u64) {
    case.append(vec![PlayerEventData::SettingSet {
        key: "app.n".to_owned(),
        value: value.into(),
        version,
        lapses_at: None,
    }]);
}

#[test]
fn an_ack_before_its_event_is_a_violation() {
    assert_only(
        "phone",
        StreamViolationKind::AckBeforeEvent {
            seq: Seq(2),
            held: Seq(1),
        },
        |case| case.phone.swap(4, 5),
    );
}

#[test]
fn an_ack_whose_event_is_not_in_the_stream_is_a_violation() {
    let lost = |seq, found: &str| StreamViolationKind::AckWithoutEvent {
        seq: Seq(seq),
        effect: "setting app.n to \"k2\"".to_owned(),
        found: found.to_owned(),
    };
    assert_only("server", lost(11, "raid_ended"), |case| {
        case.phone
            .splice(PHONE_END..PHONE_END, [set(2, "k2"), ack(2, 11)]);
    });
    let found = find(|case| {
        case.laptop.insert(6, set(2, "k2"));
        case.laptop.insert(7, ack(2, END + 1));
    });
    assert_eq!(found, [("server".to_owned(), lost(END + 1, "no event"))]);
}

#[test]
fn an_op_that_took_effect_twice_is_a_violation() {
    let double = |found| StreamViolationKind::DoubleCommand {
        effect: "setting app.n to \"k1\"".to_owned(),
        found,
        allowed: 1,
    };
    assert_only("server", double(2), |case| append(case, "k1", 2));
}

#[test]
fn an_event_that_no_command_asked_for_is_a_violation() {
    let from_nowhere = StreamViolationKind::DoubleCommand {
        effect: "setting app.n to \"k9\"".to_owned(),
        found: 1,
        allowed: 0,
    };
    assert_only("server", from_nowhere, |case| append(case, "k9", 2));
}

#[test]
fn a_refused_command_has_an_effect_only_if_it_was_sent_twice() {
    let refused = |case: &mut StreamSample, attempts: usize| {
        append(case, "k2", 2);
        for _ in 0..attempts {
            case.laptop.insert(9, set(2, "k2"));
        }
        let place = 9 + attempts;
        case.laptop.insert(place, refusal(ErrorType::Conflict));
    };
    let double = StreamViolationKind::DoubleCommand {
        effect: "setting app.n to \"k2\"".to_owned(),
        found: 1,
        allowed: 0,
    };
    assert_only("server", double, |case| refused(case, 1));
    assert_eq!(find(|case| refused(case, 2)), []);
}

#[test]
fn a_repeat_that_is_acknowledged_elsewhere_is_a_violation() {
    let changed = StreamViolationKind::AckChanged {
        op: op("k1").unwrap(),
        first: Seq(2),
        then: Seq(3),
    };
    assert_only("phone", changed, |case| {
        case.phone
            .splice(PHONE_END..PHONE_END, [set(1, "k1"), ack(1, 3)]);
    });
}

#[test]
fn a_repeat_after_a_lost_connection_is_no_violation() {
    let found = find(|case| {
        let event = case.phone.remove(4);
        let again = [
            DISCONNECTED,
            connected(),
            watch(Some(1)),
            set(1, "k1"),
            watching(2),
            event,
        ];
        case.phone.splice(4..4, again);
    });
    assert_eq!(found, []);
}

#[test]
fn a_command_without_a_final_answer_is_a_violation() {
    let unanswered = StreamViolationKind::Unanswered { id: 2 };
    assert_only("phone", unanswered.clone(), |case| {
        case.phone.insert(PHONE_END, set(2, "k2"));
    });
    assert_only("phone", unanswered, |case| {
        let overloaded = refusal(ErrorType::Overloaded);
        case.phone
            .splice(PHONE_END..PHONE_END, [set(2, "k2"), overloaded]);
    });
}

#[test]
fn a_version_that_does_not_count_the_settings_is_a_violation() {
    let wrong = StreamViolationKind::VersionWrong {
        seq: Seq(END + 1),
        told: 3,
        expected: 2,
    };
    assert_only("server", wrong, |case| {
        append(case, "k2", 3);
        case.laptop.insert(9, set(2, "k2"));
        case.laptop.insert(LAPTOP_END + 2, ack(2, END + 1));
    });
}

#[test]
fn a_setting_whose_command_names_another_version_is_a_violation() {
    let wrong = StreamViolationKind::VersionWrong {
        seq: Seq(2),
        told: 1,
        expected: 4,
    };
    assert_only("server", wrong, |case| {
        let Observation::Sent(ClientMessage::Player(PlayerRequest::Do {
            cmd: PlayerCommand::SetSetting { if_version, .. },
            ..
        })) = &mut case.phone[3]
        else {
            unreachable!("the phone sets a setting");
        };
        *if_version = Some(3);
    });
}
