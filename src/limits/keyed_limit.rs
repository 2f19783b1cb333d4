//! How many there are of each, and no more than there may be.

use std::hash::Hash;
use std::sync::Arc;

use dashmap::DashMap;

/// How many of something each key has, up to a maximum. A key without any takes no memory.
#[derive(Debug)]
pub(crate) struct Counts<K: Eq + Hash> {
    max: usize,
    counts: DashMap<K, usize>,
}

/// One place in a count, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Eq + Hash + Copy> {
    counts: Arc<Counts<K>>,
    key: K,
}

impl<K: Eq + Hash + Copy> Counts<K> {
    /// So many of each key.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            counts: DashMap::new(),
        }
    }

    /// A place for a key, or none where it has as many as it may.
    pub(crate) fn take(counts: &Arc<Self>, key: K) -> Option<Place<K>> {
        let mut count = counts.counts.entry(key).or_insert(0);
        if *count >= counts.max {
            return None;
        }
        *count += 1;
        drop(count);
        Some(Place {
            counts: Arc::clone(counts),
            key,
        })
    }
}

impl<K: Eq + Hash + Copy> Drop for Place<K> {
    fn drop(&mut self) {
        if let Some(mut count) = self.counts.counts.get_mut(&self.key) {
            *count -= 1;
        }
        self.counts
            .counts
            .remove_if(&self.key, |_, count| *count == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back_and_leave_nothing() {
        let counts = Arc::new(Counts::new(2));
        let (first, second) = (Counts::take(&counts, 7), Counts::take(&counts, 7));
        assert!(first.is_some() && second.is_some());
        assert!(Counts::take(&counts, 7).is_none());
        assert!(Counts::take(&counts, 8).is_some());
        drop(first);
        assert!(Counts::take(&counts, 7).is_some());
        drop(second);
        assert!(counts.counts.is_empty());
    }
}
