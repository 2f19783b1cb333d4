//! Judges what a player was told who has been banned or erased: soon after that, nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use raidhall_protocol::ServerMessage;

use super::client::{ClientSummary, event_of, read_client_log};
use super::membership::RaidFacts;
use super::server_record::ServerRecord;
use super::stale_presence::Period;
use super::violation::{Violation, ViolationKind};
use crate::client_log::{ClientLog, Moment, Observation};
use crate::play::VisitorRecord;

/// How long servers may take to learn of a ban, and messages that are under way to arrive.
const NOTICE_TIME: Duration = Duration::from_secs(3);
/// The close code for players who are banned or erased.
const BANNED: u16 = 4003;

/// How long it may take, after faults that ended, until no connection of the player is open.
const RECOVERY_TIME: Duration = Duration::from_secs(30);

/// Judges the logs of a visitor. What was told counts only in calm periods: a server that cannot reach
/// the store does not learn of a ban.
pub fn check_visitor(
    visitor: &VisitorRecord,
    record: &ServerRecord,
    calm_periods: &[Period],
) -> Vec<Violation> {
    let facts = RaidFacts::new(record.events.iter(), &[]);
    let is_expected = |kind: &ViolationKind| {
        visitor.shut_out.is_some() && *kind == ViolationKind::ClosedPermanently { code: BANNED }
    };
    let mut violations = Vec::new();
    for log in &visitor.logs {
        let summary = read_client_log(log, &facts);
        let told = visitor
            .shut_out
            .into_iter()
            .flat_map(|shut_out| find_told(log, shut_out, visitor.ended, calm_periods));
        let told = told.map(|what| ViolationKind::ToldShutOut { what });
        let kinds = find_different(&summary, record).chain(told);
        violations.extend(kinds.map(|kind| Violation::of(log, kind)));
        let own = summary.violations.into_iter();
        violations.extend(own.filter(|violation| !is_expected(&violation.kind)));
    }
    violations
}

/// Returns what a log shows that the server told its player too late.
fn find_told(
    log: &ClientLog,
    shut_out: Moment,
    ended: Moment,
    calm_periods: &[Period],
) -> Vec<String> {
    let is_too_late = |at: Moment| {
        let begin = at.minus(NOTICE_TIME);
        let is_calm = |calm: &Period| calm.contains(begin) && calm.contains(at);
        shut_out < begin && calm_periods.iter().any(is_calm)
    };
    let mut told = Vec::new();
    let mut is_connected = false;
    for entry in log.entries() {
        let what = match &entry.observation {
            Observation::Connected { .. } => {
                is_connected = true;
                "welcome"
            }
            Observation::Disconnected { .. } => {
                is_connected = false;
                continue;
            }
            Observation::Received(message) if !matches!(**message, ServerMessage::Error { .. }) => {
                message.t()
            }
            Observation::RequestAnswered { request } => request,
            _ => continue,
        };
        if is_too_late(entry.at) {
            told.push(what.to_owned());
        }
    }
    if is_connected && shut_out.plus(RECOVERY_TIME) < ended {
        told.push("nothing, but the connection stays open".to_owned());
    }
    told
}

/// Returns the events of a client that the ledger does not have, or has otherwise.
fn find_different<'a>(
    summary: &'a ClientSummary,
    record: &'a ServerRecord,
) -> impl Iterator<Item = ViolationKind> + 'a {
    let recorded: BTreeMap<_, _> = record.events.iter().map(|it| (it.seq, it)).collect();
    let received = summary.events.iter();
    received.filter_map(move |(seq, (_, message))| {
        let is_same = event_of(message) == recorded.get(seq).copied();
        let other = "the server's ledger".to_owned();
        (!is_same).then_some(ViolationKind::DifferentEvent { seq: *seq, other })
    })
}
