//! Tests that a player who has been banned or erased may be told nothing soon after it.

use raidhall_loadtest::client_log::{ClientLog, Moment, Observation};
use raidhall_loadtest::judge::{Period, ViolationKind, check_visitor};
use raidhall_loadtest::play::VisitorRecord;
use raidhall_protocol::EventData;

use crate::sample_case::*;

/// When the player was banned.
const BANNED_MS: u64 = 10_000;
/// When servers must have known of it for long.
const LATE_MS: u64 = 20_000;
const DISTURBED_MS: u64 = 60_000;
const END_MS: u64 = 100_000;

fn moment(ms: u64) -> Moment {
    Moment(ms * 1_000)
}

/// Judges a visitor of the sample case who was banned, or was not. Faults disturb the servers from
/// [`DISTURBED_MS`] on.
fn check(is_banned: bool, entries: &[TimedObservation]) -> Vec<ViolationKind> {
    let mut log = ClientLog::new("visitor", player(9), raid());
    for (at, entry) in entries {
        log.record(moment(*at), entry.clone());
    }
    let visitor = VisitorRecord {
        player: player(9),
        logs: vec![log],
        shut_out: is_banned.then(|| moment(BANNED_MS)),
        is_erased: false,
        ended: moment(END_MS),
    };
    let calm = Period {
        from: Moment(0),
        to: moment(DISTURBED_MS),
    };
    let mut case = SampleCase::valid();
    let violations = check_visitor(&visitor, case.server_record(), &[calm]);
    violations.into_iter().map(|it| it.kind).collect()
}

fn connected(at: u64) -> [TimedObservation; 3] {
    [
        (at, connected_entry()),
        (at, watch_entry(None)),
        (at, snapshot_entry(8)),
    ]
}

const CLOSED: Observation = Observation::Disconnected { code: Some(4003) };
const ANSWERED: Observation = Observation::RequestAnswered {
    request: "the raid",
};

fn told(what: &str) -> ViolationKind {
    let what = what.to_owned();
    ViolationKind::ToldShutOut { what }
}

#[test]
fn a_visitor_who_is_told_nothing_after_a_ban_has_no_violations() {
    let [connect, watch, snapshot] = connected(0);
    let soon = (BANNED_MS + 2_000, ANSWERED);
    let disturbed = (DISTURBED_MS + 1, ANSWERED);
    let entries = [connect, watch, snapshot, soon, (LATE_MS, CLOSED), disturbed];
    assert_eq!(check(true, &entries), []);
    assert_eq!(check(false, &connected(LATE_MS)), []);
}

#[test]
fn answers_after_a_ban_are_violations() {
    assert_eq!(check(true, &[(LATE_MS, ANSWERED)]), [told("the raid")]);
    let mut entries = connected(LATE_MS).to_vec();
    entries.push((LATE_MS, CLOSED));
    assert_eq!(check(true, &entries), [told("welcome"), told("snapshot")]);
}

#[test]
fn a_connection_that_stays_open_after_a_ban_is_a_violation() {
    let stays = told("nothing, but the connection stays open");
    assert_eq!(check(true, &connected(0)), [stays]);
}

#[test]
fn a_visitor_is_judged_as_other_clients_are() {
    let not_banned = [(0, connected_entry()), (1, CLOSED)];
    let closed = ViolationKind::ClosedPermanently { code: 4003 };
    assert_eq!(check(false, &not_banned), [closed]);
    let mut forged = history()[7].clone();
    forged.data = EventData::Said {
        text: "forged".to_owned(),
    };
    let mut entries = connected(0).to_vec();
    entries[2] = (0, snapshot_entry(7));
    entries.push((0, received_event(&forged)));
    let different = check(false, &entries);
    assert!(
        matches!(different[..], [ViolationKind::DifferentEvent { .. }]),
        "{different:?}"
    );
}
