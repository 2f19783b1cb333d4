//! P1: no client is told of an event before it is committed.

use std::collections::BTreeMap;

use raidhall_protocol::{Seq, ServerMessage};

use super::violation::{Violation, ViolationKind};
use crate::client_log::{ClientLog, Moment, Observation};

/// Judges what one client received by the moments at which the raid's events were committed.
pub fn check_commits(log: &ClientLog, committed: &BTreeMap<Seq, Moment>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for entry in log.entries() {
        let Observation::Received(message) = &entry.observation else {
            continue;
        };
        let seq = match &**message {
            ServerMessage::Event { event, .. } => event.seq,
            ServerMessage::Watching { seq, .. }
            | ServerMessage::Snapshot { seq, .. }
            | ServerMessage::Ack { seq, .. } => *seq,
            _ => continue,
        };
        if committed.get(&seq).is_none_or(|moment| entry.at < *moment) {
            violations.push(Violation {
                raid: log.raid,
                client: log.client.clone(),
                kind: ViolationKind::ToldEarly {
                    seq,
                    what: message.t().to_owned(),
                },
            });
        }
    }
    violations
}
