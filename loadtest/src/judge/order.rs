//! P3: the commands that a client sends on one connection take effect in the order in which it sends
//! them.

use std::collections::{BTreeMap, BTreeSet};

use raidhall_protocol::{ClientMessage, Seq, ServerMessage};

use super::violation::{Violation, ViolationKind};
use crate::client_log::{ClientLog, Observation};

/// Judges the order of one client's commands. One that was sent again has no place among those that
/// followed its first attempt, be it that the client sent it again, or that the server passed it on
/// again because an instance failed. The latter shows in an op that has already taken effect;
/// commands without an op are left out.
pub fn check_order(log: &ClientLog) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut sent_before = BTreeSet::new();
    let mut places: BTreeMap<u64, usize> = BTreeMap::new();
    let mut acknowledged: BTreeMap<usize, Seq> = BTreeMap::new();
    for entry in log.entries() {
        match &entry.observation {
            Observation::Connected { .. } => {
                places.clear();
                acknowledged.clear();
            }
            Observation::Sent(ClientMessage::Do { id, op, .. }) => {
                if sent_before.insert(*id) && op.is_some() {
                    places.insert(*id, sent_before.len());
                } else {
                    places.remove(id);
                }
            }
            Observation::Received(message) => {
                let ServerMessage::Ack {
                    id, seq, duplicate, ..
                } = **message
                else {
                    continue;
                };
                let Some(place) = places.get(&id).filter(|_| !duplicate) else {
                    continue;
                };
                let earlier = acknowledged.range(..place).next_back();
                let later = acknowledged.range(place + 1..).next();
                if earlier.is_some_and(|(_, earlier)| seq < *earlier)
                    || later.is_some_and(|(_, later)| *later < seq)
                {
                    violations.push(Violation::of(
                        log,
                        ViolationKind::CommandsReordered { id, seq },
                    ));
                }
                acknowledged.insert(*place, seq);
            }
            _ => {}
        }
    }
    violations
}
