//! Latencies from client logs and signals, in microseconds on one clock.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use raidhall_protocol::Seq;
use serde::Serialize;

use crate::client_log::{ClientLog, Moment};
use crate::judge;

/// Upper bound of a recorded latency, longer than any wait of a run; longer ones are clamped to it.
const LATENCY_MICROS_MAX: u64 = 600_000_000;

/// A distribution of latencies.
#[derive(Debug, Clone)]
pub struct Latency {
    micros: Histogram<u64>,
}

/// The percentiles of a distribution that a report shows, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Percentiles {
    /// The number of samples.
    pub count: u64,
    /// The median, in milliseconds.
    pub p50_ms: f64,
    /// The value that 95 of 100 samples do not exceed.
    pub p95_ms: f64,
    /// The value that 99 of 100 samples do not exceed.
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Default for Latency {
    fn default() -> Self {
        // A histogram that resizes itself would clamp saturating records to its small initial
        // range.
        let micros = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3);
        Self {
            micros: micros.expect("bounds and digits are in hdrhistogram's range"),
        }
    }
}

impl Latency {
    /// Adds one sample; one above the upper bound is clamped to it.
    pub fn add(&mut self, micros: u64) {
        self.micros.saturating_record(micros.max(1));
    }

    /// Adds all samples of another distribution.
    pub fn merge(&mut self, other: &Latency) {
        self.micros += &other.micros;
    }

    pub fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.micros.value_at_quantile(quantile) as f64 / 1000.0;
        Percentiles {
            count: self.micros.len(),
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            max_ms: self.micros.max() as f64 / 1000.0,
        }
    }
}

/// The latencies of commands: to the ack, and to the event at other members.
#[derive(Debug, Clone, Default)]
pub struct CommandLatency {
    /// From first sending a command to its ack.
    pub ack: Latency,
    /// From sending a command to its last event at every other member.
    pub event: Latency,
}

impl CommandLatency {
    /// Adds the samples of other latencies.
    pub fn merge(&mut self, other: &CommandLatency) {
        self.ack.merge(&other.ack);
        self.event.merge(&other.event);
    }
}

/// Measures one raid. A command that was sent more than once counts for acks, from its first
/// sending, but not for events: which sending caused the event is unknown.
pub fn measure_raid(logs: &[ClientLog]) -> CommandLatency {
    let mut latency = CommandLatency::default();
    let seen: Vec<_> = logs.iter().map(judge::read_client_log).collect();
    let mut causes: BTreeMap<Seq, (usize, Moment)> = BTreeMap::new();
    for (index, seen) in seen.iter().enumerate() {
        for command in seen.commands.values() {
            let Some((at, seq, _)) = command.ack else {
                continue;
            };
            latency.ack.add(at.since(command.first_sent));
            if command.attempts == 1 {
                causes.insert(seq, (index, command.first_sent));
            }
        }
    }
    for (index, seen) in seen.iter().enumerate() {
        for (seq, (at, _)) in &seen.events {
            if let Some((cause, sent)) = causes.get(seq)
                && *cause != index
            {
                latency.event.add(at.since(*sent));
            }
        }
    }
    latency
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_match_the_samples_of_merged_histograms() {
        let mut latency = Latency::default();
        let mut other = Latency::default();
        for n in 1..=99 {
            latency.add(n * 1000);
        }
        other.add(5_000_000);
        latency.merge(&other);
        let shown = latency.percentiles();
        assert_eq!(shown.count, 100);
        for (shown, expected) in [
            (shown.p50_ms, 50.0),
            (shown.p95_ms, 95.0),
            (shown.p99_ms, 99.0),
            (shown.max_ms, 5000.0),
        ] {
            assert!(
                (shown / expected - 1.0).abs() < 0.01,
                "{shown} for {expected}"
            );
        }
        other.add(u64::MAX);
        assert!(
            other.percentiles().max_ms >= 600_000.0,
            "values above the bound are clamped, not lost"
        );
    }
}
