//! How many there are of each, and no more than there may be.

use std::hash::Hash;
use std::sync::Arc;

use dashmap::DashMap;

/// How many of something each key has, up to a maximum. A key without any takes no memory.
#[derive(Debug)]
pub(crate) struct KeyedLimit<K: Eq + Hash> {
    max: usize,
    counts: DashMap<K, usize>,
}

/// One place in a count, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit<K: Eq + Hash + Copy> {
    limit: Arc<KeyedLimit<K>>,
    key: K,
}

impl<K: Eq + Hash + Copy> KeyedLimit<K> {
    /// So many of each key.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            counts: DashMap::new(),
        }
    }

    /// A place for a key, or none where it has as many as it may.
    pub(crate) fn try_acquire(counts: &Arc<Self>, key: K) -> Option<Permit<K>> {
        let mut count = counts.counts.entry(key).or_insert(0);
        if *count >= counts.max {
            return None;
        }
        *count += 1;
        drop(count);
        Some(Permit {
            limit: Arc::clone(counts),
            key,
        })
    }
}

impl<K: Eq + Hash + Copy> Drop for Permit<K> {
    fn drop(&mut self) {
        if let Some(mut count) = self.limit.counts.get_mut(&self.key) {
            *count -= 1;
        }
        self.limit
            .counts
            .remove_if(&self.key, |_, count| *count == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_permits_free_their_slots_and_leave_no_entry() {
        let counts = Arc::new(KeyedLimit::new(2));
        let (first, second) = (
            KeyedLimit::try_acquire(&counts, 7),
            KeyedLimit::try_acquire(&counts, 7),
        );
        assert!(first.is_some() && second.is_some());
        assert!(KeyedLimit::try_acquire(&counts, 7).is_none());
        assert!(KeyedLimit::try_acquire(&counts, 8).is_some());
        drop(first);
        assert!(KeyedLimit::try_acquire(&counts, 7).is_some());
        drop(second);
        assert!(counts.counts.is_empty());
    }
}
