//! Compares what the instances of a cluster answer about one raid, after the run has settled.

use std::collections::BTreeSet;

use raidhall_protocol::rest::RaidView;
use raidhall_protocol::{RaidId, Seq};

use super::difference;
use super::server_record::{self, ServerRecord};
use super::told::told_seq;
use super::violation::{Violation, ViolationKind};
use crate::client_log::{ClientLog, LogEntry, Observation};

/// Judges the views of a raid, the first instance's first: each is what the ledger's events fold to
/// at its seq, and none is behind what a client had been told when the run settled.
pub fn check_views(
    raid: RaidId,
    logs: &[ClientLog],
    server_record: &ServerRecord,
    views: &[Result<RaidView, String>],
) -> Vec<Violation> {
    let head = logs
        .iter()
        .flat_map(entries_until_settled)
        .filter_map(|entry| told_seq(&entry.observation))
        .max()
        .unwrap_or(Seq::ZERO);
    let seqs: BTreeSet<_> = views.iter().flatten().map(|view| view.seq).collect();
    let states = server_record::judge(raid, server_record, &seqs).states;
    let mut violations = Vec::new();
    for (instance, view) in views.iter().enumerate() {
        let mut report = |kind| {
            violations.push(Violation {
                raid,
                client: format!("instance {instance}"),
                kind,
            });
        };
        let view = match view {
            Ok(view) => view,
            Err(error) => {
                let error = error.clone();
                report(ViolationKind::InstanceUnreadable { error });
                continue;
            }
        };
        let seq = view.seq;
        if seq < head {
            report(ViolationKind::SeqWentBack {
                held: head,
                got: seq,
            });
        }
        match states.get(&seq) {
            Some(state) if *state != view.state => {
                let difference = difference::first_difference(&view.state, state);
                report(ViolationKind::StateMismatch { seq, difference });
            }
            Some(_) => {}
            None => {
                let held = server_record.seq;
                report(ViolationKind::IncompleteAtEnd { held, head: seq });
            }
        }
    }
    violations
}

fn entries_until_settled(log: &ClientLog) -> impl Iterator<Item = &LogEntry> {
    let is_settled = |entry: &LogEntry| matches!(entry.observation, Observation::Settled { .. });
    log.entries()
        .iter()
        .take_while(move |entry| !is_settled(entry))
}
