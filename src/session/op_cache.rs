//! Cache of the op keys that have taken effect, so that a repeated command gets the first answer.

use std::collections::{HashMap, VecDeque};

use raidhall_protocol::Seq;

use crate::store::OpHash;

/// Bounded cache of one raid's latest op keys. Older keys are looked up in the ledger's index.
#[derive(Debug)]
pub(super) struct OpCache {
    seqs: HashMap<OpHash, Seq>,
    order: VecDeque<OpHash>,
    keys_max: usize,
    /// Whether the ledger may hold op keys that are not here.
    is_partial: bool,
}

impl OpCache {
    /// Creates a cache of at most `max` keys. `loaded` are the keys of the ledger's latest events,
    /// oldest first; `whole` means that the ledger has no others.
    pub(super) fn new(max: usize, loaded: Vec<(OpHash, Seq)>, whole: bool) -> Self {
        let mut ops = Self {
            seqs: HashMap::new(),
            order: VecDeque::new(),
            keys_max: max,
            is_partial: !whole,
        };
        for (op, seq) in loaded {
            ops.insert(op, seq, seq);
        }
        ops
    }

    /// Returns the seq at which an op took effect, if the cache holds it.
    pub(super) fn get(&self, op: OpHash) -> Option<Seq> {
        self.seqs.get(&op).copied()
    }

    /// Returns whether a miss must be looked up in the ledger.
    pub(super) const fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Records that an op took effect at `seq`. Evicts the oldest keys beyond the limit, but only
    /// those up to `committed`: the ledger does not hold later ones yet.
    pub(super) fn insert(&mut self, op: OpHash, seq: Seq, committed: Seq) {
        if self.seqs.insert(op, seq).is_none() {
            self.order.push_back(op);
        }
        while self.order.len() > self.keys_max
            && let Some(oldest) = self.order.pop_front_if(|op| self.seqs[op] <= committed)
        {
            self.seqs.remove(&oldest);
            self.is_partial = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_op_evicted_from_memory_has_to_be_looked_up() {
        let op = |n| OpHash([n; 16]);
        let mut ops = OpCache::new(2, vec![(op(1), Seq(3))], true);
        ops.insert(op(2), Seq(5), Seq(3));
        assert!(!ops.is_partial());
        ops.insert(op(3), Seq(7), Seq(3));
        assert!(ops.is_partial());
        let seqs = |ops: &OpCache| [1, 2, 3, 4].map(|n| ops.get(op(n)).map(|seq| seq.0));
        assert_eq!(seqs(&ops), [None, Some(5), Some(7), None]);
        ops.insert(op(4), Seq(9), Seq(3));
        assert_eq!(
            seqs(&ops),
            [None, Some(5), Some(7), Some(9)],
            "what the ledger does not hold yet is kept"
        );
        ops.insert(op(4), Seq(9), Seq(9));
        assert_eq!(seqs(&ops), [None, None, Some(7), Some(9)]);
    }
}
