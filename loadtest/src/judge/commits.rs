//! P1: no client is told of an event before it is committed.

use std::collections::BTreeMap;

use raidhall_protocol::{Seq, ServerMessage};

use super::violation::{Violation, ViolationKind};
use crate::client_log::{ClientLog, Moment, Observation, ReadAnswer, RestRead};

/// Judges what one client received and read by the moments at which the raid's events were committed.
pub fn check_commits(log: &ClientLog, committed: &BTreeMap<Seq, Moment>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for entry in log.entries() {
        let (at, seq, what) = match &entry.observation {
            Observation::Received(message) => match &**message {
                ServerMessage::Event { event, .. } => (entry.at, event.seq, message.t()),
                ServerMessage::Watching { seq, .. }
                | ServerMessage::Snapshot { seq, .. }
                | ServerMessage::Ack { seq, .. } => (entry.at, *seq, message.t()),
                _ => continue,
            },
            Observation::Read(RestRead {
                answered,
                result: Ok(ReadAnswer::Raid(view)),
                ..
            }) => (*answered, view.seq, "a read by REST"),
            _ => continue,
        };
        if committed.get(&seq).is_none_or(|moment| at < *moment) {
            let what = what.to_owned();
            violations.push(Violation::of(log, ViolationKind::ToldEarly { seq, what }));
        }
    }
    violations
}
