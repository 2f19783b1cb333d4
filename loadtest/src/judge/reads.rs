//! Judges what clients read by REST while they played. A read is never older than what any client
//! had been acknowledged, and what this client had been shown, before it sent the request.

use std::iter;

use raidhall_protocol::{Event, Seq, ServerMessage};

use super::server_record::ServerRecord;
use super::told::told_seq;
use super::violation::{Violation, ViolationKind};
use crate::client_log::{ClientLog, LogEntry, Moment, Observation, ReadAnswer, RestRead};

/// Returns the reads of a client that were answered.
pub(super) fn answered_reads(log: &ClientLog) -> impl Iterator<Item = (&RestRead, &ReadAnswer)> {
    log.entries()
        .iter()
        .filter_map(|entry| match &entry.observation {
            Observation::Read(read) => Some((read, read.result.as_ref().ok()?)),
            _ => None,
        })
}

/// Judges how new the reads are, and whether they show only what the ledger has.
pub(super) fn judge(logs: &[ClientLog], server_record: Option<&ServerRecord>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for log in logs {
        for (read, answer) in answered_reads(log) {
            let held = told_before(logs, log, read.sent);
            let ledger = server_record.map(|record| &*record.events);
            let kinds = find_stale(answer, held)
                .into_iter()
                .chain(ledger.and_then(|ledger| find_unknown(answer, ledger)));
            violations.extend(kinds.map(|kind| Violation::of(log, kind)));
        }
    }
    violations
}

fn find_stale(answer: &ReadAnswer, held: Seq) -> Option<ViolationKind> {
    let got = newest_seq(answer)?;
    (got < held).then_some(ViolationKind::SeqWentBack { held, got })
}

/// Returns the seq of the newest event that the answer tells of; `None` if there may be newer ones.
fn newest_seq(answer: &ReadAnswer) -> Option<Seq> {
    match answer {
        ReadAnswer::RaidList(_) | ReadAnswer::Created(_) => None,
        ReadAnswer::Raid(view) => Some(view.seq),
        ReadAnswer::Events {
            after,
            limit,
            events,
        } => {
            let is_last_page = (events.len() as u64) < *limit;
            is_last_page.then(|| events.last().map_or(*after, |event| event.seq))
        }
    }
}

/// Finds what the ledger does not have, or has otherwise. The states of reads are compared with
/// those of snapshots.
fn find_unknown(answer: &ReadAnswer, ledger: &[Event]) -> Option<ViolationKind> {
    match answer {
        ReadAnswer::RaidList(_) | ReadAnswer::Created(_) => None,
        ReadAnswer::Raid(view) => {
            let held = ledger.last().map_or(Seq::ZERO, |event| event.seq);
            let head = view.seq;
            (head > held).then_some(ViolationKind::IncompleteAtEnd { held, head })
        }
        ReadAnswer::Events { after, events, .. } => {
            let recorded = ledger.iter().filter(|event| event.seq > *after);
            let recorded = recorded.map(Some).chain(iter::repeat(None));
            let different = events
                .iter()
                .zip(recorded)
                .find(|(event, recorded)| Some(*event) != *recorded);
            different.map(|(event, _)| ViolationKind::DifferentEvent {
                seq: event.seq,
                other: "the server's ledger".to_owned(),
            })
        }
    }
}

/// Returns the newest seq that any client had been acknowledged before, or that this one had been
/// shown.
fn told_before(logs: &[ClientLog], reader: &ClientLog, sent: Moment) -> Seq {
    let before = |entry: &&LogEntry| entry.at < sent;
    let acks = logs
        .iter()
        .flat_map(ClientLog::entries)
        .filter(before)
        .filter_map(|entry| match &entry.observation {
            Observation::Received(message) => match &**message {
                ServerMessage::Ack { seq, .. } => Some(*seq),
                _ => None,
            },
            _ => None,
        });
    let shown = reader.entries().iter().filter(before);
    let shown = shown.filter_map(|entry| told_seq(&entry.observation));
    // A client sends one read after the other.
    let earlier = answered_reads(reader).filter(|(read, _)| read.answered <= sent);
    let earlier = earlier.filter_map(|(_, answer)| newest_seq(answer));
    acks.chain(shown).chain(earlier).max().unwrap_or(Seq::ZERO)
}
