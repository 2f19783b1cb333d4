//! Ack waits are counted separately by what became of the command's connection.

use raidhall_loadtest::ack_waits::{AckWaits, FreezePeriod};
use raidhall_loadtest::client_log::{ClientLog, Moment, Observation};
use raidhall_protocol::{Command, ErrorBody, ErrorType, EventData, ServerMessage};

use crate::sample_case::{
    ack_entry, command_entry, event, player, raid, received, received_event, watch_entry,
};

fn chat_command() -> Command {
    Command::Say {
        text: "well done".to_owned(),
    }
}

fn connected_entry(server: usize) -> Observation {
    Observation::Connected {
        lineage: "9f2c".to_owned(),
        server,
    }
}

fn measure_waits(entries: Vec<(u64, Observation)>, frozen: &[FreezePeriod]) -> AckWaits {
    let mut log = ClientLog::new("ada", player(5), raid());
    for (at, entry) in entries {
        log.record(Moment(at * 1000), entry);
    }
    let mut waits = AckWaits::default();
    waits.add(raid(), &[log], frozen);
    waits
}

fn longest_waits(waits: &AckWaits) -> [(u64, f64); 3] {
    [&waits.connected, &waits.server_frozen, &waits.reconnected].map(|wait| {
        let shown = wait.figures().wait;
        (shown.count, (shown.max_ms / 10.0).round() * 10.0) // the histogram keeps three digits
    })
}

#[test]
fn a_wait_is_measured_from_the_first_send_across_retries() {
    let error = ErrorBody::new(ErrorType::Unavailable, "no owner");
    let later = ServerMessage::Error {
        re: "do".to_owned(),
        id: Some(1),
        raid: Some(raid()),
        player: None,
        error,
    };
    let entries = vec![
        (0, connected_entry(1)),
        (1, watch_entry(None)),
        (100, command_entry(1, "a1", chat_command())),
        (600, received(later)),
        (800, command_entry(1, "a1", chat_command())),
        (1100, ack_entry(1, 4)),
    ];
    let waits = measure_waits(entries, &[]);
    assert_eq!(longest_waits(&waits), [(1, 1000.0), (0, 0.0), (0, 0.0)]);
    let described = waits.connected.figures().longest.unwrap();
    assert!(
        described.contains("client ada on server 1") && described.contains("2 times"),
        "{described}"
    );
}

#[test]
fn a_command_with_a_lost_connection_is_counted_separately() {
    let error = ErrorBody::new(ErrorType::Overloaded, "full");
    let later = ServerMessage::Error {
        re: "do".to_owned(),
        id: Some(1),
        raid: Some(raid()),
        player: None,
        error,
    };
    for refused in [false, true] {
        let mut entries = vec![
            (0, connected_entry(0)),
            (100, command_entry(1, "a1", chat_command())),
        ];
        if refused {
            entries.push((150, received(later.clone())));
        }
        entries.extend([
            (200, Observation::Disconnected { code: None }),
            (300, connected_entry(1)),
            (310, command_entry(1, "a1", chat_command())),
            (400, ack_entry(1, 4)),
            (500, command_entry(2, "a2", chat_command())),
            (550, ack_entry(2, 5)),
        ]);
        assert_eq!(
            longest_waits(&measure_waits(entries, &[])),
            [(1, 50.0), (0, 0.0), (1, 300.0)]
        );
    }
}

#[test]
fn only_commands_to_a_frozen_server_are_counted_separately() {
    let frozen = [FreezePeriod {
        server: 1,
        from: Moment(150_000),
        to: Moment(6_150_000),
    }];
    let entries = |server| {
        let say = EventData::Said {
            text: "well done".to_owned(),
        };
        vec![
            (0, connected_entry(server)),
            (100, command_entry(1, "a1", self::chat_command())),
            (6_200, received_event(&event(4, 5, say))),
            (6_200, ack_entry(1, 4)),
            (7_000, command_entry(2, "a2", self::chat_command())),
            (7_010, ack_entry(2, 5)),
        ]
    };
    assert_eq!(
        longest_waits(&measure_waits(entries(1), &frozen)),
        [(1, 10.0), (1, 6100.0), (0, 0.0)]
    );
    assert_eq!(
        longest_waits(&measure_waits(entries(0), &frozen)),
        [(2, 6100.0), (0, 0.0), (0, 0.0)]
    );
}
