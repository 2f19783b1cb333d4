//! How long commands waited, told apart by what became of their connection.

use raidhall_loadtest::ledger::{Entry, Ledger, Moment};
use raidhall_loadtest::waits::{Frozen, Waits};
use raidhall_protocol::{Command, ErrorBody, ErrorType, EventData, ServerMessage};

use crate::court::{ack, event, player, raid, sent, told, told_event, watch};

fn say() -> Command {
    Command::Say {
        text: "well done".to_owned(),
    }
}

fn connected(server: usize) -> Entry {
    Entry::Connected {
        lineage: "9f2c".to_owned(),
        server,
    }
}

fn waits(lines: Vec<(u64, Entry)>, frozen: &[Frozen]) -> Waits {
    let mut ledger = Ledger::new("ada", player(5), raid());
    lines
        .into_iter()
        .for_each(|(at, entry)| ledger.note(Moment(at * 1000), entry));
    let mut waits = Waits::default();
    waits.add(raid(), &[ledger], frozen);
    waits
}

fn longest(waits: &Waits) -> [(u64, f64); 3] {
    [&waits.stood, &waits.frozen, &waits.torn].map(|wait| {
        let shown = wait.figures().wait;
        (shown.count, (shown.max_ms / 10.0).round() * 10.0) // the histogram keeps three digits
    })
}

#[test]
fn a_wait_lasts_from_the_first_sending_whatever_is_retried_in_between() {
    let error = ErrorBody::new(ErrorType::Unavailable, "nobody owns it now");
    let later = ServerMessage::Error {
        re: "do".to_owned(),
        id: Some(1),
        raid: Some(raid()),
        error,
    };
    let lines = vec![
        (0, connected(1)),
        (1, watch(None)),
        (100, sent(1, "a1", say())),
        (600, told(later)),
        (800, sent(1, "a1", say())),
        (1100, ack(1, 4)),
    ];
    let waits = waits(lines, &[]);
    assert_eq!(longest(&waits), [(1, 1000.0), (0, 0.0), (0, 0.0)]);
    let described = waits.stood.figures().longest.unwrap();
    assert!(
        described.contains("client ada on server 1") && described.contains("2 times"),
        "{described}"
    );
}

#[test]
fn a_command_whose_connection_was_lost_is_counted_apart_though_it_was_refused_before() {
    let error = ErrorBody::new(ErrorType::Overloaded, "full");
    let later = ServerMessage::Error {
        re: "do".to_owned(),
        id: Some(1),
        raid: Some(raid()),
        error,
    };
    for refused in [false, true] {
        let mut lines = vec![(0, connected(0)), (100, sent(1, "a1", say()))];
        if refused {
            lines.push((150, told(later.clone())));
        }
        lines.extend([
            (200, Entry::Disconnected { code: None }),
            (300, connected(1)),
            (310, sent(1, "a1", say())),
            (400, ack(1, 4)),
            (500, sent(2, "a2", say())),
            (550, ack(2, 5)),
        ]);
        assert_eq!(
            longest(&waits(lines, &[])),
            [(1, 50.0), (0, 0.0), (1, 300.0)]
        );
    }
}

#[test]
fn a_command_to_a_frozen_server_is_counted_apart_and_one_to_another_is_not() {
    let frozen = [Frozen {
        server: 1,
        from: Moment(150_000),
        to: Moment(6_150_000),
    }];
    let story = |server| {
        let say = EventData::Said {
            text: "well done".to_owned(),
        };
        vec![
            (0, connected(server)),
            (100, sent(1, "a1", self::say())),
            (6_200, told_event(&event(4, 5, say))),
            (6_200, ack(1, 4)),
            (7_000, sent(2, "a2", self::say())),
            (7_010, ack(2, 5)),
        ]
    };
    assert_eq!(
        longest(&waits(story(1), &frozen)),
        [(1, 10.0), (1, 6100.0), (0, 0.0)]
    );
    assert_eq!(
        longest(&waits(story(0), &frozen)),
        [(2, 6100.0), (0, 0.0), (0, 0.0)]
    );
}
