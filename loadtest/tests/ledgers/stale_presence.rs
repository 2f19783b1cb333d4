//! Tests of the judge of stale presence: what is shown late although nothing disturbs the servers is
//! found. Two players, times in milliseconds; Ben, who leads, goes away at 50 s.

use std::time::Duration;

use raidhall_loadtest::client_log::{ClientLog, Moment, Observation};
use raidhall_loadtest::judge::{
    Period, StablePeriod, Violation, ViolationKind, check_stale_presence,
};
use raidhall_protocol::event::LeaderReason;
use raidhall_protocol::state::Role;
use raidhall_protocol::{EventData, UnixMillis};

use crate::sample_case::{
    DISCONNECTED, TimedObservation, both_players, connected_entry, event, online_entry, player,
    presence_entry, raid, received_event,
};

/// The graces of these tests are 5 s and 8 s, and 2 s are allowed for the way to the clients.
const OFFLINE_DUE: u64 = 57_000;
const REPLACED_DUE: u64 = 65_000;

fn ben_joined() -> Observation {
    let joined = EventData::MemberJoined {
        player: player(6),
        name: "Ben".to_owned(),
        role: Role::Leader,
        xp: 0,
        tasks: 0,
        energy: 100,
        energy_at: UnixMillis(0),
        joined_at: UnixMillis(0),
    };
    received_event(&event(2, 6, joined))
}

fn leader_changed() -> Observation {
    let changed = EventData::LeaderChanged {
        player: player(5),
        previous: player(6),
        reason: LeaderReason::LeaderOffline,
        term: 2,
    };
    received_event(&event(4, 6, changed))
}

/// Checks a run in which Ada sees these messages, and Ben comes back at this time.
fn check(seen: &[TimedObservation], back_at: u64, calm: (u64, u64)) -> Vec<ViolationKind> {
    let mut ada = ClientLog::new("ada", player(5), raid());
    let mut ben = ClientLog::new("ben", player(6), raid());
    let at = |milliseconds| Moment(milliseconds * 1_000);
    ada.record(at(0), connected_entry());
    ada.record(at(1), online_entry(&both_players()));
    ada.record(at(2), ben_joined());
    for (time, observation) in seen {
        ada.record(at(*time), observation.clone());
    }
    ben.record(at(0), connected_entry());
    ben.record(at(1), online_entry(&both_players()));
    ben.record(at(50_000), DISCONNECTED);
    ben.record(at(back_at), connected_entry());
    ben.record(at(back_at), online_entry(&both_players()));
    let stable = StablePeriod {
        from: at(0),
        to: at(100_000),
        presence_grace: Duration::from_secs(5),
        leader_grace: Duration::from_secs(8),
        outages: Vec::new(),
    };
    let calm = Period {
        from: at(calm.0),
        to: at(calm.1),
    };
    let violations = check_stale_presence(raid(), &[ada, ben], None, &stable, &[calm]);
    violations
        .into_iter()
        .map(|Violation { kind, .. }| kind)
        .collect()
}

const ALL: (u64, u64) = (10, 100_000);

#[test]
fn changes_that_are_shown_in_time_are_no_violation() {
    let seen = [
        (OFFLINE_DUE - 1, presence_entry(&[], &[6])),
        (REPLACED_DUE - 1, leader_changed()),
        (81_999, presence_entry(&[6], &[])),
    ];
    assert_eq!(check(&seen, 80_000, ALL), []);
    assert_eq!(check(&[], OFFLINE_DUE - 1, ALL), [], "a short absence");
}

#[test]
fn a_player_who_is_shown_online_long_after_going_away_is_found() {
    let still = ViolationKind::StillShownOnline {
        player: player(6),
        at_ms: OFFLINE_DUE,
    };
    let seen = [(OFFLINE_DUE + 1, presence_entry(&[], &[6]))];
    assert_eq!(check(&seen, 60_000, ALL).first(), Some(&still));
    assert_eq!(
        check(&seen, 60_000, (10, OFFLINE_DUE)),
        [],
        "not calm long enough"
    );
    assert_eq!(
        check(&[], 60_000, (55_000, 100_000)),
        [],
        "counted from the calm"
    );
}

#[test]
fn a_player_who_watches_and_is_not_shown_online_is_found() {
    let missing = ViolationKind::NotShownOnline {
        player: player(6),
        at_ms: 62_000,
    };
    let seen = [(56_000, presence_entry(&[], &[6]))];
    assert_eq!(check(&seen, 60_000, ALL), [missing]);
}

#[test]
fn a_leader_who_is_not_replaced_is_found_if_another_member_watches() {
    let leads = ViolationKind::LeaderNotReplaced {
        leader: player(6),
        at_ms: REPLACED_DUE,
    };
    let offline = (56_000, presence_entry(&[], &[6]));
    let back = (70_000, presence_entry(&[6], &[]));
    let seen = [offline.clone(), back.clone()];
    assert_eq!(check(&seen, 70_000, ALL), [leads]);
    let alone = [
        offline,
        (60_000, DISCONNECTED),
        (61_000, connected_entry()),
        (61_001, online_entry(&[player(5)])),
        back,
    ];
    assert_eq!(check(&alone, 70_000, ALL), []);
}
