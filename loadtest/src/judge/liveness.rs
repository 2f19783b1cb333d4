//! P9: while nothing is wrong with the servers, every client's commands are answered in time, and
//! some take effect.

use std::time::Duration;

use raidhall_protocol::Command;

use super::membership::RaidFacts;
use super::server_record::ServerRecord;
use super::violation::{Violation, ViolationKind};
use super::{all_events, client};
use crate::client_log::{ClientLog, LogEntry, Moment, Observation};

/// A period of a run in which every client plays and no server is disturbed.
#[derive(Debug, Clone, Copy)]
pub struct HealthyPeriod {
    /// When the servers had recovered from the last disturbance.
    pub from: Moment,
    /// When the clients stopped playing.
    pub to: Moment,
    /// How long the final answer to a command may take, repeats of the command included.
    pub patience: Duration,
}

/// Judges whether the servers served the clients of one raid in this period.
pub fn check_liveness(
    logs: &[ClientLog],
    server_record: Option<&ServerRecord>,
    healthy: &HealthyPeriod,
) -> Vec<Violation> {
    let facts = RaidFacts::new(all_events(logs, server_record), logs);
    let playing = logs.iter().filter(|log| !facts.is_removed(log.player));
    let mut violations = Vec::new();
    for log in playing {
        let violation = |kind| Violation::of(log, kind);
        let seen = client::read_client_log(log, &facts);
        let absences = find_own_absences(log);
        let mut is_acknowledged = false;
        for command in seen.commands.values() {
            let Some(answered) = command.answered else {
                continue; // `judge` reports it if the run settled without an answer
            };
            // A client that is away has itself to blame.
            let returned = absences
                .iter()
                .filter(|(from, _)| *from < answered)
                .map(|(_, until)| *until)
                .max()
                .unwrap_or_default();
            let served_from = command.first_sent.max(healthy.from).max(returned);
            let waited = answered.since(served_from);
            if Duration::from_micros(waited) > healthy.patience {
                violations.push(violation(ViolationKind::AnsweredLate {
                    id: command.id,
                    command: command.command.kind(),
                    after_ms: waited / 1_000,
                }));
            }
            // A refused message is the answer to a muted player, who may have no energy for tasks either.
            let is_muted = command.is_refused && matches!(command.command, Command::Say { .. });
            is_acknowledged |= (command.ack.is_some() || is_muted)
                && healthy.from <= command.first_sent
                && answered <= healthy.to;
        }
        let was_away = absences
            .iter()
            .any(|(from, until)| *from < healthy.to && healthy.from < *until);
        if !is_acknowledged && !was_away && !seen.has_given_up {
            violations.push(violation(ViolationKind::NothingAcknowledged));
        }
    }
    violations
}

/// Returns when the client chose to have no connection.
fn find_own_absences(log: &ClientLog) -> Vec<(Moment, Moment)> {
    let absence = |entry: &LogEntry| match entry.observation {
        Observation::WentAway { until } => Some((entry.at, until)),
        _ => None,
    };
    log.entries().iter().filter_map(absence).collect()
}
