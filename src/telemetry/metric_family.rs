//! The kinds of metrics: one time series, or a family of them that differ in a label.

use std::collections::BTreeMap;

use metrics::{Counter, Gauge, Histogram, Unit};
use parking_lot::RwLock;

use super::labels::Label;

/// A kind of metric: how it is created and how `docs/METRICS.md` describes it.
pub(super) trait Metric {
    /// What distinguishes two metrics of the kind besides name and help: the unit or the labels.
    type Spec;

    fn create(name: &'static str, spec: Self::Spec, help: &'static str) -> Self;

    /// The kind's name in Prometheus.
    #[cfg(test)]
    const KIND: &str;

    /// The names of the labels.
    #[cfg(test)]
    fn labels(_spec: Self::Spec) -> Vec<&'static str> {
        Vec::new()
    }

    /// The label's values and their meanings, for a label that is a closed set.
    #[cfg(test)]
    fn values() -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
}

impl Metric for Counter {
    type Spec = Unit;
    #[cfg(test)]
    const KIND: &str = "counter";

    fn create(name: &'static str, unit: Unit, help: &'static str) -> Self {
        metrics::describe_counter!(name, unit, help);
        metrics::counter!(name)
    }
}

impl Metric for Gauge {
    type Spec = Unit;
    #[cfg(test)]
    const KIND: &str = "gauge";

    fn create(name: &'static str, unit: Unit, help: &'static str) -> Self {
        metrics::describe_gauge!(name, unit, help);
        metrics::gauge!(name)
    }
}

impl Metric for Histogram {
    type Spec = Unit;
    #[cfg(test)]
    const KIND: &str = "histogram";

    fn create(name: &'static str, unit: Unit, help: &'static str) -> Self {
        metrics::describe_histogram!(name, unit, help);
        metrics::histogram!(name)
    }
}

/// One counter per value of a label. All of them exist from the start: Prometheus does not see an
/// increase in a series that begins at 1, so the first panic would go unnoticed.
pub struct CounterFamily<L>(Vec<(L, Counter)>);

impl<L: Label> CounterFamily<L> {
    /// Adds one to the counter of `value`.
    pub fn increment(&self, value: L) {
        self.add(value, 1);
    }

    /// Adds `count` to the counter of `value`.
    pub fn add(&self, value: L, count: usize) {
        if let Some((_, counter)) = self.0.iter().find(|(label, _)| *label == value) {
            counter.increment(count as u64);
        }
    }
}

impl<L: Label> Metric for CounterFamily<L> {
    type Spec = &'static str;
    #[cfg(test)]
    const KIND: &str = "counter";

    fn create(name: &'static str, label: &'static str, help: &'static str) -> Self {
        metrics::describe_counter!(name, Unit::Count, help);
        let counter = |value: L| (value, metrics::counter!(name, label => value.as_str()));
        Self(L::all().into_iter().map(counter).collect())
    }

    #[cfg(test)]
    fn labels(label: &'static str) -> Vec<&'static str> {
        vec![label]
    }

    #[cfg(test)]
    fn values() -> Vec<(&'static str, &'static str)> {
        label_values::<L>()
    }
}

/// One counter per pair of values of two labels. The values come from fixed sets in code.
pub struct TwoLabelCounterFamily {
    name: &'static str,
    labels: [&'static str; 2],
    counters: RwLock<BTreeMap<[&'static str; 2], Counter>>,
}

impl TwoLabelCounterFamily {
    /// Adds one to the counter of these values, in the labels' order.
    pub fn increment(&self, values: [&'static str; 2]) {
        if let Some(counter) = self.counters.read().get(&values) {
            return counter.increment(1);
        }
        let ([first, second], [one, other]) = (self.labels, values);
        let counter = metrics::counter!(self.name, first => one, second => other);
        counter.increment(1);
        self.counters.write().insert(values, counter);
    }
}

impl Metric for TwoLabelCounterFamily {
    type Spec = [&'static str; 2];
    #[cfg(test)]
    const KIND: &str = "counter";

    fn create(name: &'static str, labels: [&'static str; 2], help: &'static str) -> Self {
        metrics::describe_counter!(name, Unit::Count, help);
        Self {
            name,
            labels,
            counters: RwLock::default(),
        }
    }

    #[cfg(test)]
    fn labels(labels: [&'static str; 2]) -> Vec<&'static str> {
        labels.to_vec()
    }
}

/// One gauge per value of a label.
pub struct GaugeFamily<L> {
    name: &'static str,
    label: &'static str,
    values: std::marker::PhantomData<L>,
}

impl<L: Label> GaugeFamily<L> {
    /// Returns the gauge of `value`.
    pub fn with_label(&self, value: L) -> Gauge {
        metrics::gauge!(self.name, self.label => value.as_str())
    }
}

impl<L: Label> Metric for GaugeFamily<L> {
    type Spec = &'static str;
    #[cfg(test)]
    const KIND: &str = "gauge";

    fn create(name: &'static str, label: &'static str, help: &'static str) -> Self {
        metrics::describe_gauge!(name, Unit::Count, help);
        Self {
            name,
            label,
            values: std::marker::PhantomData,
        }
    }

    #[cfg(test)]
    fn labels(label: &'static str) -> Vec<&'static str> {
        vec![label]
    }

    #[cfg(test)]
    fn values() -> Vec<(&'static str, &'static str)> {
        label_values::<L>()
    }
}

#[cfg(test)]
fn label_values<L: Label>() -> Vec<(&'static str, &'static str)> {
    let value = |label: L| (label.as_str(), label.meaning());
    L::all().into_iter().map(value).collect()
}
