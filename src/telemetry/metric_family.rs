//! Counters that differ in one label, each looked up once.

use std::collections::BTreeMap;

use metrics::{Counter, Gauge};
use parking_lot::RwLock;

/// One counter per value of a label. The values come from a fixed set, in code: never ids, never input.
pub struct CounterFamily {
    name: &'static str,
    label: &'static str,
    handles: RwLock<Vec<(&'static str, Counter)>>,
}

impl CounterFamily {
    pub(super) fn new(name: &'static str, label: &'static str) -> Self {
        Self {
            name,
            label,
            handles: RwLock::default(),
        }
    }

    /// Counts one for `value`, which is the label's value: usually a cause enum's own name for itself.
    pub fn increment(&self, value: &'static str) {
        self.with_label(value).increment(1);
    }

    /// The counter of `value`, to be kept where it is counted very often.
    pub fn with_label(&self, value: &'static str) -> Counter {
        if let Some((_, counter)) = self.handles.read().iter().find(|(made, _)| *made == value) {
            return counter.clone();
        }
        let counter = metrics::counter!(self.name, self.label => value);
        let mut made = self.handles.write();
        if !made.iter().any(|(known, _)| *known == value) {
            made.push((value, counter.clone()));
        }
        counter
    }
}

/// One counter per pair of values of two labels, each from a fixed set in code.
pub struct TwoLabelCounterFamily {
    name: &'static str,
    labels: [&'static str; 2],
    handles: RwLock<BTreeMap<[&'static str; 2], Counter>>,
}

impl TwoLabelCounterFamily {
    pub(super) fn new(name: &'static str, labels: [&'static str; 2]) -> Self {
        Self {
            name,
            labels,
            handles: RwLock::default(),
        }
    }

    /// Counts one for these values, in the labels' order.
    pub fn increment(&self, values: [&'static str; 2]) {
        if let Some(counter) = self.handles.read().get(&values) {
            return counter.increment(1);
        }
        let ([first, second], [one, other]) = (self.labels, values);
        let counter = metrics::counter!(self.name, first => one, second => other);
        counter.increment(1);
        self.handles.write().insert(values, counter);
    }
}

/// A gauge per value of a label, each from a fixed set in code.
pub struct GaugeFamily {
    name: &'static str,
    label: &'static str,
}

impl GaugeFamily {
    pub(super) const fn new(name: &'static str, label: &'static str) -> Self {
        Self { name, label }
    }

    /// The gauge of `value`, to be kept where it changes often.
    pub fn with_label(&self, value: &'static str) -> Gauge {
        metrics::gauge!(self.name, self.label => value)
    }
}
