//! Tests of the presence judge: a deploy is invisible, and each false offline or leader change is
//! found. Two players, times in milliseconds, one forged message each.

use std::time::Duration;

use raidhall_loadtest::client_log::{ClientLog, Moment, Observation};
use raidhall_loadtest::fold::Fold;
use raidhall_loadtest::judge::{
    Outage, PresenceErrors, ServerRecord, StablePeriod, ViolationKind, check_presence,
};
use raidhall_protocol::event::{LeaderReason, LeaveReason};
use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::{Command, ErrorBody, ErrorType, EventData, Seq, ServerMessage};

use crate::sample_case::{
    DISCONNECTED, TimedObservation, both_players, command_entry, connected_entry, event,
    online_entry, player, presence_entry, raid, received, received_event, watch_entry,
    watching_entry,
};

/// Returns logs in which both players connect, and Ben reconnects after a deploy within a second.
fn valid_logs() -> [Vec<TimedObservation>; 2] {
    let ada = vec![
        (0, connected_entry()),
        (1, watch_entry(None)),
        (10, online_entry(&[player(5)])),
        (20, presence_entry(&[6], &[])),
    ];
    let ben = vec![
        (5, connected_entry()),
        (6, watch_entry(None)),
        (15, online_entry(&both_players())),
        (30_000, DISCONNECTED),
        (31_000, connected_entry()),
        (31_001, watch_entry(Some(3))),
        (31_010, online_entry(&both_players())),
    ];
    [ada, ben]
}

fn check_logs(
    logs: [Vec<TimedObservation>; 2],
    server_record: Option<&ServerRecord>,
) -> PresenceErrors {
    check_logs_with_outages(logs, server_record, Vec::new())
}

fn check_logs_with_outages(
    logs: [Vec<TimedObservation>; 2],
    server_record: Option<&ServerRecord>,
    outages: Vec<Outage>,
) -> PresenceErrors {
    let log_of = |name, id, mut lines: Vec<TimedObservation>| {
        lines.sort_by_key(|(at, _)| *at);
        let mut log = ClientLog::new(name, player(id), raid());
        for (at, entry) in lines {
            log.record(Moment(at * 1000), entry);
        }
        log
    };
    let [ada, ben] = logs;
    let logs = [log_of("ada", 5, ada), log_of("ben", 6, ben)];
    let from = Moment(100_000);
    let to = Moment(200_000_000);
    let presence_grace = Duration::from_secs(5);
    let leader_grace = Duration::from_secs(60);
    check_presence(
        raid(),
        &logs,
        server_record,
        &StablePeriod {
            from,
            to,
            presence_grace,
            leader_grace,
            outages,
        },
    )
}

/// Returns the valid logs with further entries for Ada and for Ben.
fn with_entries(
    ada: Vec<TimedObservation>,
    ben: Vec<TimedObservation>,
) -> [Vec<TimedObservation>; 2] {
    let mut logs = valid_logs();
    logs[0].extend(ada);
    logs[1].extend(ben);
    logs
}

#[track_caller]
fn assert_no_violations(logs: [Vec<TimedObservation>; 2]) -> PresenceErrors {
    let errors = check_logs(logs, None);
    assert!(errors.violations.is_empty(), "{errors:?}");
    assert_eq!((errors.false_offline, errors.false_leader_changes), (0, 0));
    errors
}

#[track_caller]
fn assert_violation(logs: [Vec<TimedObservation>; 2], client: &str, kind: &ViolationKind) {
    let errors = check_logs(logs, None);
    let found = errors
        .violations
        .iter()
        .any(|violation| violation.client == client && violation.kind == *kind);
    assert!(
        found
            && errors.false_offline + errors.false_leader_changes == errors.violations.len() as u64,
        "{errors:?}"
    );
}

#[test]
fn a_return_within_the_grace_is_not_counted_as_an_absence() {
    assert_eq!(assert_no_violations(valid_logs()).absences, 0);
}

#[test]
fn showing_a_briefly_absent_player_as_offline_is_a_violation() {
    for at in [29_000, 30_500, 40_000] {
        let kind = ViolationKind::FalseOffline {
            player: player(6),
            at_ms: at,
        };
        assert_violation(
            with_entries(vec![(at, presence_entry(&[], &[6]))], vec![]),
            "ada",
            &kind,
        );
    }
}

#[test]
fn an_online_list_that_lacks_a_present_player_is_a_violation() {
    for (online, gone) in [([player(6)], player(5)), ([player(5)], player(6))] {
        let mut logs = valid_logs();
        logs[1][6].1 = online_entry(&online);
        assert_violation(
            logs,
            "ben",
            &ViolationKind::FalseOffline {
                player: gone,
                at_ms: 31_010,
            },
        );
    }
}

#[test]
fn an_absence_longer_than_the_grace_may_be_shown_and_is_counted() {
    let away = vec![
        (50_000, DISCONNECTED),
        (58_000, connected_entry()),
        (58_001, watch_entry(Some(3))),
        (58_010, online_entry(&both_players())),
    ];
    let shown = |at| {
        with_entries(
            vec![
                (at, presence_entry(&[], &[6])),
                (60_500, presence_entry(&[6], &[])),
            ],
            away.clone(),
        )
    };
    assert_eq!(assert_no_violations(shown(55_100)).absences, 1);
    // Before the grace is over, and long after the reconnect, it is still a violation.
    assert_violation(
        shown(52_000),
        "ada",
        &ViolationKind::FalseOffline {
            player: player(6),
            at_ms: 52_000,
        },
    );
    assert_violation(
        shown(60_400),
        "ada",
        &ViolationKind::FalseOffline {
            player: player(6),
            at_ms: 60_400,
        },
    );
}

#[test]
fn a_refused_watch_begins_an_absence() {
    let refused = received(ServerMessage::Error {
        re: "watch".to_owned(),
        id: None,
        raid: Some(raid()),
        player: None,
        error: ErrorBody::new(ErrorType::RateLimited, "no"),
    });
    let away = vec![(50_000, refused), (58_010, online_entry(&both_players()))];
    let shown = |at| with_entries(vec![(at, presence_entry(&[], &[6]))], away.clone());
    assert_eq!(assert_no_violations(shown(55_100)).absences, 1);
    let kind = ViolationKind::FalseOffline {
        player: player(6),
        at_ms: 52_000,
    };
    assert_violation(shown(52_000), "ada", &kind);
}

#[test]
fn a_drain_doubles_the_grace_of_the_clients_that_it_disconnects() {
    let away = |code| {
        vec![
            (50_000, Observation::Disconnected { code }),
            (58_000, connected_entry()),
            (58_001, watch_entry(Some(3))),
            (58_010, online_entry(&both_players())),
        ]
    };
    let logs = |code| with_entries(vec![(55_100, presence_entry(&[], &[6]))], away(code));
    assert_no_violations(logs(None));
    let kind = ViolationKind::FalseOffline {
        player: player(6),
        at_ms: 55_100,
    };
    assert_violation(logs(Some(4200)), "ada", &kind);
}

#[test]
fn a_player_who_never_returns_may_be_shown_offline() {
    assert_no_violations(with_entries(
        vec![(56_000, presence_entry(&[], &[6]))],
        vec![(50_000, DISCONNECTED)],
    ));
}

#[test]
fn a_player_may_be_shown_offline_at_once_after_a_successful_leave() {
    let left = received(ServerMessage::Unwatched {
        id: None,
        raid: raid(),
        reason: UnwatchReason::Left,
    });
    let leave = |answer: Observation| {
        let ben = vec![
            (50_000, command_entry(9, "b9", Command::Leave)),
            (50_100, answer),
            (53_000, watch_entry(None)),
            (53_010, online_entry(&both_players())),
        ];
        with_entries(
            vec![
                (50_050, presence_entry(&[], &[6])),
                (53_020, presence_entry(&[6], &[])),
                (70_000, presence_entry(&[], &[6])),
            ],
            ben,
        )
    };
    let mut logs = leave(left);
    let again = logs[0].pop().unwrap();
    assert_no_violations(logs.clone());
    logs[0].push(again);
    assert_violation(
        logs,
        "ada",
        &ViolationKind::FalseOffline {
            player: player(6),
            at_ms: 70_000,
        },
    );
    let error = ErrorBody::new(ErrorType::WrongStatus, "no");
    let refused = received(ServerMessage::Error {
        re: "do".to_owned(),
        id: Some(9),
        raid: Some(raid()),
        player: None,
        error,
    });
    assert_violation(
        leave(refused),
        "ada",
        &ViolationKind::FalseOffline {
            player: player(6),
            at_ms: 50_050,
        },
    );
}

#[test]
fn presence_before_all_are_online_and_after_the_end_is_ignored() {
    for at in [50, 250_000] {
        assert_no_violations(with_entries(vec![(at, presence_entry(&[], &[6]))], vec![]));
    }
}

#[test]
fn a_presence_message_that_changes_nothing_is_only_counted() {
    assert_eq!(
        assert_no_violations(with_entries(
            vec![(40_000, presence_entry(&[6], &[]))],
            vec![]
        ))
        .redundant_messages,
        1
    );
}

fn leader_changed() -> EventData {
    let reason = LeaderReason::LeaderOffline;
    EventData::LeaderChanged {
        player: player(5),
        previous: player(6),
        reason,
        term: 2,
    }
}

#[test]
fn deposing_a_leader_who_was_online_is_a_violation() {
    let mut moved = event(4, 6, leader_changed());
    moved.by = None;
    let kind = ViolationKind::FalseLeaderChange {
        seq: Seq(4),
        leader: player(6),
    };
    assert_violation(
        with_entries(vec![(90_000, received_event(&moved))], vec![]),
        "server",
        &kind,
    );
    // The absence is longer than the presence grace, but shorter than the leader's.
    let away = vec![
        (50_000, DISCONNECTED),
        (60_000, connected_entry()),
        (60_001, watch_entry(Some(3))),
        (60_010, online_entry(&both_players())),
    ];
    assert_violation(
        with_entries(vec![(61_000, received_event(&moved))], away),
        "server",
        &kind,
    );
    assert_no_violations(with_entries(
        vec![(111_000, received_event(&moved))],
        vec![(50_000, DISCONNECTED)],
    ));
    let promoted = EventData::LeaderChanged {
        player: player(5),
        previous: player(6),
        reason: LeaderReason::Promoted,
        term: 2,
    };
    assert_no_violations(with_entries(
        vec![(90_000, received_event(&event(4, 6, promoted)))],
        vec![],
    ));
}

#[test]
fn a_leader_change_is_as_old_as_the_first_message_that_tells_of_it() {
    let mut moved = event(4, 6, leader_changed());
    moved.by = None;
    let returns_at = |seq| {
        let replay = vec![
            (110_000, DISCONNECTED),
            (130_000, connected_entry()),
            (130_001, watch_entry(Some(3))),
            (130_010, watching_entry(4)),
            (130_011, received_event(&moved)),
        ];
        let away = vec![
            (40_000, DISCONNECTED),
            (120_000, connected_entry()),
            (120_001, watch_entry(Some(3))),
            (120_010, watching_entry(seq)),
        ];
        check_logs(with_entries(replay, away), None).false_leader_changes
    };
    assert_eq!(returns_at(4), 0);
    assert_eq!(returns_at(3), 1, "the leader had returned");
}

#[test]
fn an_unannounced_leader_change_is_found_in_the_server_ledger() {
    let mut case = crate::sample_case::SampleCase::valid();
    let events = case.history.clone();
    let state = Fold::from_events(raid(), &events)
        .unwrap()
        .state()
        .unwrap()
        .clone();
    let server_record = case.server_record();
    server_record.state = state;
    server_record.events.push(event(9, 6, leader_changed()));
    let errors = check_logs(valid_logs(), Some(server_record));
    assert_eq!(errors.false_leader_changes, 1, "{errors:?}");
}

#[test]
fn an_outage_of_the_leaders_server_explains_a_leader_change() {
    let mut moved = event(4, 6, leader_changed());
    moved.by = None;
    let false_changes = |server, at| {
        let outage = Outage {
            server,
            from: Moment(100_000_000),
            to: Moment(180_000_000),
        };
        let logs = with_entries(vec![(at, received_event(&moved))], Vec::new());
        check_logs_with_outages(logs, None, vec![outage]).false_leader_changes
    };
    assert_eq!(false_changes(0, 165_000), 0);
    assert_eq!(false_changes(0, 150_000), 1, "the outage was too short");
    assert_eq!(false_changes(0, 190_000), 1, "the outage was over");
    assert_eq!(false_changes(1, 165_000), 1, "the outage was elsewhere");
}

#[test]
fn a_player_who_is_kicked_without_learning_of_it_may_be_shown_offline() {
    let kicked = EventData::MemberLeft {
        player: player(6),
        reason: LeaveReason::Kicked,
        released: Vec::new(),
    };
    let offline = presence_entry(&[], &[6]);
    let [mut ada, ben] = valid_logs();
    ada.push((150_000, received_event(&event(4, 5, kicked))));
    ada.push((150_010, offline.clone()));
    assert_eq!(check_logs([ada, ben], None).false_offline, 0);
    let [mut ada, ben] = valid_logs();
    ada.push((150_010, offline));
    assert_eq!(check_logs([ada, ben], None).false_offline, 1);
}
