//! Bounded counter per key; dropping a permit frees its slot.

use std::hash::Hash;
use std::sync::Arc;

use dashmap::DashMap;

/// Counter per key, up to a maximum. A key with a count of zero takes no memory.
#[derive(Debug)]
pub(crate) struct KeyedLimit<K: Eq + Hash> {
    max: usize,
    counts: DashMap<K, usize>,
}

/// One counted unit of a key, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit<K: Eq + Hash + Copy> {
    limit: Arc<KeyedLimit<K>>,
    key: K,
}

impl<K: Eq + Hash + Copy> KeyedLimit<K> {
    /// Creates counters that allow `max` permits for each key.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            counts: DashMap::new(),
        }
    }

    /// Acquires a permit for a key; `None` if the key has reached its maximum.
    pub(crate) fn try_acquire(limit: &Arc<Self>, key: K) -> Option<Permit<K>> {
        let mut count = limit.counts.entry(key).or_insert(0);
        if *count >= limit.max {
            return None;
        }
        *count += 1;
        drop(count);
        Some(Permit {
            limit: Arc::clone(limit),
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
