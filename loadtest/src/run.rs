//! The runs: whole raids judged at the end (`smoke`), the same while the server (`chaos`) or the
//! nodes of a cluster (`cluster`) die again and again, that with players' own streams on several
//! devices (`players`), how long events take between nodes (`lag`), and idle connections (`idle`). All are bounded in count and time and stop by themselves.

mod bot_groups;
mod chaos;
mod cluster;
mod idle;
mod lag;
mod players;
mod run_server;
mod self_monitor;
mod smoke;

use std::time::Duration;

pub use chaos::{ChaosArgs, chaos};
pub use cluster::{
    ClusterArgs, DisturbanceArgs, Nodes, Services, SteadyLoadArgs, cluster, run_on_nodes,
};
pub use idle::{IdleArgs, idle};
pub use lag::{LagArgs, lag};
pub use players::{PlayersArgs, StreamLoadArgs, players, run_players_on_nodes};
pub use run_server::{RunServer, RunServerArgs};
pub use smoke::{Codecs, SmokeArgs, smoke};

use crate::client_log::ClientLog;
use crate::judge::{Verdict, judge};
use crate::latency::{CommandLatency, Latency, measure_raid};
use crate::play::{GroupOutcome, TrafficReading};
use crate::report::{ClientLogDump, Report};

/// Upper bound of what a run does besides the time that it is asked to play.
const OVERHEAD_MAX: Duration = Duration::from_secs(420);
/// Client logs kept as evidence: enough to find a fault, not enough to fill a disk.
const CLIENT_LOGS_MAX: usize = 20;

/// Parses a number of raids.
fn parse_raids(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(raids @ 1..=10_000) => Ok(raids),
        _ => Err("expected 1 to 10000".to_owned()),
    }
}

/// Parses a rate per second.
fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1_000.0).contains(&rate) => Ok(rate),
        _ => Err("expected 0 to 1000".to_owned()),
    }
}

/// Judges the raids and adds up their figures.
fn add_outcomes(report: &mut Report, outcomes: &[GroupOutcome]) {
    let mut verdict = Verdict::default();
    let mut commands = CommandLatency::default();
    let mut signals = Latency::default();
    for outcome in outcomes {
        let judged = judge(outcome.raid, &outcome.ledgers, Some(&outcome.server_record));
        let saw = |ledger: &&ClientLog| {
            judged
                .violations
                .iter()
                .any(|violation| violation.client == ledger.client)
        };
        let room = CLIENT_LOGS_MAX - report.evidence.len();
        report.evidence.extend(
            outcome
                .ledgers
                .iter()
                .filter(saw)
                .take(room)
                .map(ClientLogDump::from_log),
        );
        verdict.add(judged);
        commands.merge(&measure_raid(&outcome.ledgers));
        for micros in &outcome.signal_latencies_micros {
            signals.add(*micros);
        }
        for counts in &outcome.counts {
            report.counted.add(counts);
        }
        report.counted.held_back += outcome.commands_held_back;
    }
    report.ack_latency = commands.ack.percentiles();
    report.event_latency = commands.event.percentiles();
    report.signal_latency = signals.percentiles();
    report.add_verdict(&verdict);
}

/// Sets the report's rates from two readings of the traffic counters.
fn set_rates(report: &mut Report, from: TrafficReading, to: TrafficReading, lasted: Duration) {
    let per_second = |count: u64| count as f64 / lasted.as_secs_f64().max(0.001);
    report.deliveries_per_second = per_second(to.deliveries - from.deliveries);
    report.signals_per_second = per_second(to.signals - from.signals);
    report.acks_per_second = per_second(to.acks - from.acks);
}
