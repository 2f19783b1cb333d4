//! The runs: whole raids judged at the end (`smoke`), the same while the server dies again and again (`chaos`) or the
//! nodes of a cluster do (`cluster`), how long events take between nodes (`lag`), and connections that do nothing
//! (`idle`). All are bounded in count and time and stop by themselves.

mod chaos;
mod cluster;
mod gathered;
mod host;
mod idle;
mod lag;
mod smoke;
mod tester;

use std::time::Duration;

pub use chaos::{Chaos, chaos};
pub use cluster::{Cluster, Disturb, Nodes, Services, Steady, cluster, cluster_on};
pub use host::{Host, HostArgs};
pub use idle::{Idle, idle};
pub use lag::{Lag, lag};
pub use smoke::{Codecs, Smoke, smoke};

use crate::judge::{Verdict, judge};
use crate::latency::{CommandLatency, Latency, of_raid};
use crate::ledger::Ledger;
use crate::play::{Outcome, Reading};
use crate::report::{Evidence, Report};

/// Nothing that this program does on its own account takes longer than this on top of the time it is told to play.
const OVERHEAD_MAX: Duration = Duration::from_secs(420);
/// Ledgers kept as evidence: enough to find a fault, not enough to fill a disk.
const EVIDENCE_MAX: usize = 20;

/// Judges the raids and sums their figures up.
fn sum_up(report: &mut Report, outcomes: &[Outcome]) {
    let (mut verdict, mut commands, mut signals) = (
        Verdict::default(),
        CommandLatency::default(),
        Latency::default(),
    );
    for outcome in outcomes {
        let judged = judge(outcome.raid, &outcome.ledgers, Some(&outcome.truth));
        let saw = |ledger: &&Ledger| {
            judged
                .violations
                .iter()
                .any(|violation| violation.client == ledger.client)
        };
        let room = EVIDENCE_MAX - report.evidence.len();
        report.evidence.extend(
            outcome
                .ledgers
                .iter()
                .filter(saw)
                .take(room)
                .map(Evidence::of),
        );
        verdict.add(judged);
        commands.merge(&of_raid(&outcome.ledgers));
        outcome
            .signals
            .iter()
            .for_each(|micros| signals.add(*micros));
        outcome
            .tallies
            .iter()
            .for_each(|tally| report.counted.add(tally));
        report.counted.held_back += outcome.held_back;
    }
    report.ack_latency = commands.ack.percentiles();
    report.event_latency = commands.event.percentiles();
    report.signal_latency = signals.percentiles();
    report.judge(&verdict);
}

/// Fills the rates in from two readings of the meter.
fn rates(report: &mut Report, from: Reading, to: Reading, lasted: Duration) {
    let per_second = |count: u64| count as f64 / lasted.as_secs_f64().max(0.001);
    report.deliveries_per_second = per_second(to.deliveries - from.deliveries);
    report.signals_per_second = per_second(to.signals - from.signals);
    report.acks_per_second = per_second(to.acks - from.acks);
}
