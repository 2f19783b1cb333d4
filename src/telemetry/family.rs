//! Counters that differ in one label, each looked up once.

use metrics::Counter;
use parking_lot::RwLock;

/// One counter per value of a label. The values come from a fixed set, in code: never ids, never input.
pub struct Counters {
    name: &'static str,
    label: &'static str,
    made: RwLock<Vec<(&'static str, Counter)>>,
}

impl Counters {
    pub(super) fn new(name: &'static str, label: &'static str) -> Self {
        Self { name, label, made: RwLock::default() }
    }

    /// Counts one for `value`, which is the label's value: usually a cause enum's own name for itself.
    pub fn increment(&self, value: &'static str) {
        self.of(value).increment(1);
    }

    /// The counter of `value`, to be kept where it is counted very often.
    pub fn of(&self, value: &'static str) -> Counter {
        if let Some((_, counter)) = self.made.read().iter().find(|(made, _)| *made == value) {
            return counter.clone();
        }
        let counter = metrics::counter!(self.name, self.label => value);
        let mut made = self.made.write();
        if !made.iter().any(|(known, _)| *known == value) {
            made.push((value, counter.clone()));
        }
        counter
    }
}
