//! The judge: reads every client's log of a raid, and the server record, and reports violations.
//!
//! Nothing here talks to a server or knows how the run went. Forged logs are judged like real ones,
//! and the judge is tested with them.

mod answers;
mod client;
mod commits;
mod difference;
mod effects;
mod instances;
mod liveness;
mod membership;
mod order;
mod outsider;
mod players;
mod presence;
mod reads;
mod server_record;
mod stale_presence;
mod told;
mod violation;
mod visitor;

use std::collections::BTreeMap;

pub use answers::check_answers;
pub use client::{ClientSummary, SentCommand};
use client::{event_of, state_of};
pub use commits::check_commits;
pub use instances::check_views;
pub use liveness::{HealthyPeriod, check_liveness};
pub use order::check_order;
pub use outsider::check_outsider;
pub use players::{
    EffectArrivals, ExpectedEffect, Gain, Grant, RaidEventArrivals, StreamCase, StreamRecord,
    StreamVerdict, StreamViolation, StreamViolationKind, expected_effects, judge_players,
};
pub use presence::{Outage, PresenceErrors, StablePeriod, check_presence};
use raidhall_protocol::{Event, RaidId, RaidState, Seq};
pub use server_record::ServerRecord;
pub use stale_presence::{Period, check_stale_presence};
pub use violation::{Violation, ViolationKind};
pub use visitor::check_visitor;

use self::membership::RaidFacts;
use crate::client_log::{ClientLog, Observation, ReadAnswer};

/// The judge's result for one raid, or the sum of several.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Every violation that was found.
    pub violations: Vec<Violation>,
    /// Events in the raid's history.
    pub history_events: u64,
    /// Events received by all clients together.
    pub received_events: u64,
    pub acks: u64,
    /// Acks that the server marked as repeats.
    pub repeats: u64,
    /// Snapshots that clients received.
    pub snapshots: u64,
    /// Watches with `since`, however they were answered.
    pub resumes: u64,
    /// Resumes answered by a replay.
    pub replays: u64,
}

impl Verdict {
    /// Adds the verdict of another raid.
    pub fn add(&mut self, other: Verdict) {
        self.violations.extend(other.violations);
        self.history_events += other.history_events;
        self.received_events += other.received_events;
        self.acks += other.acks;
        self.repeats += other.repeats;
        self.snapshots += other.snapshots;
        self.resumes += other.resumes;
        self.replays += other.replays;
    }

    /// Asserts that there are no violations, for tests.
    ///
    /// # Panics
    /// There is a violation; the message lists all of them.
    pub fn assert_no_violations(&self) {
        let list: Vec<_> = self.violations.iter().map(ToString::to_string).collect();
        assert!(
            list.is_empty(),
            "{} violations:\n{}",
            list.len(),
            list.join("\n")
        );
    }
}

/// Judges one raid by its client logs and, if it was read, the server record. Without that, the
/// events that the clients received together count as the history.
pub fn judge(raid: RaidId, logs: &[ClientLog], server_record: Option<&ServerRecord>) -> Verdict {
    let facts = RaidFacts::new(all_events(logs, server_record), logs);
    let clients: Vec<_> = logs
        .iter()
        .map(|log| (log, client::read_client_log(log, &facts)))
        .collect();
    let mut verdict = Verdict::default();
    let mut history: BTreeMap<Seq, (&str, &Event)> = BTreeMap::new();
    if let Some(server_record) = server_record {
        history.extend(
            server_record
                .events
                .iter()
                .map(|event| (event.seq, ("the server's ledger", event))),
        );
    }
    if let Some(server_record) = server_record {
        verdict
            .violations
            .extend(compare_online(raid, logs, server_record, &facts));
    }
    for (log, seen) in &clients {
        compare_events(
            log,
            seen,
            server_record.is_some(),
            &mut history,
            &mut verdict,
        );
        verdict.violations.extend(seen.violations.iter().cloned());
        verdict.received_events += seen.events.len() as u64;
        verdict.snapshots += seen.snapshots.len() as u64;
        verdict.resumes += seen.resumes;
        verdict.replays += seen.replays;
        let acks = seen.commands.values().filter_map(|command| command.ack);
        verdict.acks += acks.clone().count() as u64;
        verdict.repeats += acks.filter(|(_, _, repeat)| *repeat).count() as u64;
    }
    verdict.violations.extend(find_unsettled(&clients, &facts));
    compare_states(raid, &clients, server_record, &mut verdict);
    verdict.violations.extend(reads::judge(logs, server_record));
    verdict.history_events = history.len() as u64;
    let events = history
        .into_iter()
        .map(|(seq, (_, event))| (seq, event))
        .collect();
    verdict.violations.extend(effects::judge(
        raid,
        &clients,
        &events,
        server_record.is_some(),
    ));
    verdict
}

/// Returns a violation for each client that never settled, if others did.
fn find_unsettled(clients: &[(&ClientLog, ClientSummary)], facts: &RaidFacts) -> Vec<Violation> {
    if !clients.iter().any(|(_, seen)| seen.is_settled) {
        return Vec::new();
    }
    let unsettled = clients
        .iter()
        .filter(|(log, seen)| !seen.is_settled && !facts.is_removed(log.player));
    unsettled
        .map(|(log, _)| Violation::of(log, ViolationKind::NeverSettled))
        .collect()
}

/// Reads one client log without judging it against others: for latencies, and for tests of a single
/// client.
pub fn read_client_log(log: &ClientLog) -> ClientSummary {
    client::read_client_log(log, &RaidFacts::default())
}

/// Returns every event of the ledger and of the client logs; many occur several times.
fn all_events<'a>(
    logs: &'a [ClientLog],
    server_record: Option<&'a ServerRecord>,
) -> impl Iterator<Item = &'a Event> {
    let received = logs.iter().flat_map(ClientLog::entries);
    let received = received.filter_map(|entry| match &entry.observation {
        Observation::Received(message) => event_of(message),
        _ => None,
    });
    let recorded = server_record.into_iter().flat_map(|record| &record.events);
    recorded.chain(received)
}

/// Compares the players shown online by REST after the run with those who should be.
fn compare_online(
    raid: RaidId,
    logs: &[ClientLog],
    server_record: &ServerRecord,
    facts: &RaidFacts,
) -> Option<Violation> {
    let mut entries = logs
        .iter()
        .flat_map(ClientLog::entries)
        .map(|record| &record.observation);
    let online = entries.find_map(|entry| match entry {
        Observation::Settled { online, .. } => Some(online.clone()),
        _ => None,
    })?;
    let shown = server_record.online.clone();
    let sets = [&shown, &online].map(|list| list.iter().copied().collect());
    let is_right = facts.is_presence_right(&sets[0], &sets[1], &server_record.state);
    let breach = ViolationKind::PresenceWrong { shown, online };
    (!is_right).then(|| Violation::of_server(raid, breach))
}

fn compare_events<'a>(
    log: &'a ClientLog,
    seen: &'a ClientSummary,
    complete: bool,
    history: &mut BTreeMap<Seq, (&'a str, &'a Event)>,
    verdict: &mut Verdict,
) {
    for (seq, (_, message)) in &seen.events {
        let Some(event) = event_of(message) else {
            continue;
        };
        let other = match history.get(seq) {
            Some((_, known)) if *known == event => continue,
            Some((other, _)) => (*other).to_owned(),
            None if complete => "the server's ledger (none)".to_owned(),
            None => {
                history.insert(*seq, (&log.client, event));
                continue;
            }
        };
        let breach = ViolationKind::DifferentEvent { seq: *seq, other };
        verdict.violations.push(Violation::of(log, breach));
    }
}

/// Compares every state that a client received with the one that the server's events fold to at its
/// seq, or with what other clients received at that seq.
fn compare_states(
    raid: RaidId,
    clients: &[(&ClientLog, ClientSummary)],
    server_record: Option<&ServerRecord>,
    verdict: &mut Verdict,
) {
    let received = || {
        clients.iter().flat_map(|(log, seen)| {
            let states = snapshot_states(seen).chain(read_states(log));
            states.map(move |(seq, state)| (*log, seq, state))
        })
    };
    let mut states = BTreeMap::new();
    if let Some(server_record) = server_record {
        let seqs = received().map(|(_, seq, _)| seq).collect();
        let account = server_record::judge(raid, server_record, &seqs);
        verdict.violations.extend(account.violations);
        states = account.states;
    }
    for (log, seq, state) in received() {
        let known = states.entry(seq).or_insert_with(|| state.clone());
        if known != state {
            let difference = difference::first_difference(state, known);
            verdict.violations.push(Violation::of(
                log,
                ViolationKind::StateMismatch { seq, difference },
            ));
        }
    }
}

fn snapshot_states(seen: &ClientSummary) -> impl Iterator<Item = (Seq, &RaidState)> {
    let states = seen.snapshots.iter();
    states.filter_map(|(seq, message)| Some((*seq, state_of(message)?)))
}

fn read_states(log: &ClientLog) -> impl Iterator<Item = (Seq, &RaidState)> {
    reads::answered_reads(log).filter_map(|(_, answer)| match answer {
        ReadAnswer::Raid(view) => Some((view.seq, &view.state)),
        _ => None,
    })
}
