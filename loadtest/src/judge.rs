//! The judge: reads every client's ledger of a raid, and the server's, and convicts.
//!
//! Nothing here talks to a server or knows how the run went; forged ledgers are judged like real ones, which is how
//! the judge is tested.

mod client;
mod difference;
mod effects;
mod presence;
mod server_record;
mod violation;

use std::collections::{BTreeMap, BTreeSet};

pub use client::{ClientSummary, SentCommand};
use client::{event_of, state_of};
pub use presence::{PresenceErrors, StablePeriod, check_presence};
use raidhall_protocol::{Event, RaidId, Seq};
pub use server_record::ServerRecord;
pub use violation::{Violation, ViolationKind};

use crate::client_log::{ClientLog, Observation};

/// What the judge found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Every broken promise.
    pub violations: Vec<Violation>,
    /// Events in the raid's history.
    pub history_events: u64,
    /// Events that clients were told, all together.
    pub received_events: u64,
    /// Commands acknowledged.
    pub acks: u64,
    /// Those of them that the server answered as repeats.
    pub repeats: u64,
    /// Snapshots that clients got.
    pub snapshots: u64,
    /// Returns with `since`.
    pub resumes: u64,
    /// Those of them answered by a replay.
    pub replays: u64,
}

impl Verdict {
    /// Adds another raid's.
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

    /// Panics with every violation, for tests.
    ///
    /// # Panics
    /// When there is one.
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

/// Judges one raid by the ledgers of its clients and, if it was read, the server's own account. Without that, what
/// the clients were told together counts as the history.
pub fn judge(raid: RaidId, ledgers: &[ClientLog], truth: Option<&ServerRecord>) -> Verdict {
    let clients: Vec<_> = ledgers
        .iter()
        .map(|ledger| (ledger, client::read_client_log(ledger)))
        .collect();
    let mut verdict = Verdict::default();
    let mut history: BTreeMap<Seq, (&str, &Event)> = BTreeMap::new();
    if let Some(truth) = truth {
        history.extend(
            truth
                .events
                .iter()
                .map(|event| (event.seq, ("the server's ledger", event))),
        );
    }
    if let Some(truth) = truth {
        verdict
            .violations
            .extend(compare_online(raid, ledgers, truth));
    }
    for (ledger, seen) in &clients {
        compare_events(
            raid,
            ledger,
            seen,
            truth.is_some(),
            &mut history,
            &mut verdict,
        );
        verdict.violations.extend(seen.violations.iter().cloned());
        verdict.received_events += seen.events.len() as u64;
        verdict.snapshots += seen.snapshots.len() as u64;
        verdict.resumes += seen.resumes;
        verdict.replays += seen.replays;
        let acks = seen.commands.values().filter_map(|deed| deed.ack);
        verdict.acks += acks.clone().count() as u64;
        verdict.repeats += acks.filter(|(_, _, repeat)| *repeat).count() as u64;
    }
    compare_snapshots(raid, &clients, truth, &mut verdict);
    verdict.history_events = history.len() as u64;
    let events = history
        .into_iter()
        .map(|(seq, (_, event))| (seq, event))
        .collect();
    verdict
        .violations
        .extend(effects::judge(raid, &clients, &events, truth.is_some()));
    verdict
}

/// Reads one ledger without judging it against others: for latencies, and for tests of a single client.
pub fn read_client_log(ledger: &ClientLog) -> ClientSummary {
    client::read_client_log(ledger)
}

/// Whom the server shows online by REST once the run came to rest.
fn compare_online(raid: RaidId, ledgers: &[ClientLog], truth: &ServerRecord) -> Option<Violation> {
    let mut entries = ledgers
        .iter()
        .flat_map(ClientLog::entries)
        .map(|record| &record.observation);
    let online = entries.find_map(|entry| match entry {
        Observation::Settled { online, .. } => Some(online.clone()),
        _ => None,
    })?;
    let shown = truth.online.clone();
    let same = shown.iter().collect::<BTreeSet<_>>() == online.iter().collect::<BTreeSet<_>>();
    let breach = ViolationKind::PresenceWrong { shown, online };
    (!same).then(|| Violation {
        raid,
        client: "server".to_owned(),
        kind: breach,
    })
}

fn compare_events<'a>(
    raid: RaidId,
    ledger: &'a ClientLog,
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
                history.insert(*seq, (&ledger.client, event));
                continue;
            }
        };
        let breach = ViolationKind::DifferentEvent { seq: *seq, other };
        verdict.violations.push(Violation {
            raid,
            client: ledger.client.clone(),
            kind: breach,
        });
    }
}

/// Every snapshot against the state that the server's events make at its seq, or against the other snapshots there.
fn compare_snapshots(
    raid: RaidId,
    clients: &[(&ClientLog, ClientSummary)],
    truth: Option<&ServerRecord>,
    verdict: &mut Verdict,
) {
    let asked: BTreeSet<_> = clients
        .iter()
        .flat_map(|(_, seen)| seen.snapshots.iter().map(|(seq, _)| *seq))
        .collect();
    let mut states = BTreeMap::new();
    if let Some(truth) = truth {
        let account = server_record::judge(raid, truth, &asked);
        verdict.violations.extend(account.violations);
        states = account.states;
    }
    for (ledger, seen) in clients {
        for (seq, message) in &seen.snapshots {
            let Some(state) = state_of(message) else {
                continue;
            };
            let known = states.entry(*seq).or_insert_with(|| state.clone());
            if known != state {
                let difference = difference::first_difference(state, known);
                let breach = ViolationKind::StateMismatch {
                    seq: *seq,
                    difference,
                };
                verdict.violations.push(Violation {
                    raid,
                    client: ledger.client.clone(),
                    kind: breach,
                });
            }
        }
    }
}
