//! How long things took, from ledgers and signals, in microseconds on one clock.

use crate::judge;
use crate::ledger::{Ledger, Moment};
use hdrhistogram::Histogram;
use raidhall_protocol::Seq;
use serde::Serialize;
use std::collections::BTreeMap;

/// A distribution of durations.
#[derive(Debug, Clone)]
pub struct Latency {
    micros: Histogram<u64>,
}

/// What a report shows of a distribution, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Percentiles {
    /// How many.
    pub count: u64,
    /// The median.
    pub p50_ms: f64,
    /// 95 of 100 were at most this.
    pub p95_ms: f64,
    /// 99 of 100 were at most this.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Default for Latency {
    fn default() -> Self {
        // From 1 µs on without an upper bound, to three digits.
        Self { micros: Histogram::new(3).expect("3 digits are a valid precision") }
    }
}

impl Latency {
    /// Adds one.
    pub fn add(&mut self, micros: u64) {
        self.micros.saturating_record(micros.max(1));
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Latency) {
        self.micros += &other.micros;
    }

    /// What to show.
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

/// The latencies of commands.
#[derive(Debug, Clone, Default)]
pub struct CommandLatency {
    /// From first sending a command to its ack.
    pub ack: Latency,
    /// From sending a command to its last event at every other member.
    pub event: Latency,
}

impl CommandLatency {
    /// Adds another's.
    pub fn merge(&mut self, other: &CommandLatency) {
        self.ack.merge(&other.ack);
        self.event.merge(&other.event);
    }
}

/// Measures one raid. Commands that were sent more than once count for acks, from the first sending, but not for
/// events: which sending caused the event is unknown.
pub fn of_raid(ledgers: &[Ledger]) -> CommandLatency {
    let mut latency = CommandLatency::default();
    let seen: Vec<_> = ledgers.iter().map(judge::read).collect();
    let mut causes: BTreeMap<Seq, (usize, Moment)> = BTreeMap::new();
    for (who, seen) in seen.iter().enumerate() {
        for deed in seen.deeds.values() {
            let Some((at, seq, _)) = deed.ack else { continue };
            latency.ack.add(at.since(deed.first_sent));
            if deed.tries == 1 {
                causes.insert(seq, (who, deed.first_sent));
            }
        }
    }
    for (who, seen) in seen.iter().enumerate() {
        for (seq, (at, _)) in &seen.events {
            if let Some((cause, sent)) = causes.get(seq)
                && *cause != who
            {
                latency.event.add(at.since(*sent));
            }
        }
    }
    latency
}
