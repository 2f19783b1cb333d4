//! How many causes each player has by the feed, and how far it was read.

use std::collections::{BTreeMap, HashMap};

use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::{PlayerId, RaidId, Seq};

use crate::store::OpHash;

/// Causes of all players up to a place in the feed, by number and checksum.
#[derive(Default)]
pub(super) struct Survey {
    players: BTreeMap<PlayerId, CauseDigest>,
    /// The seq of each raid up to which its events were read. They come in the order of their seqs.
    passed: HashMap<RaidId, Seq>,
}

/// Number of different causes, and the exclusive or of their op keys. Two sets of causes are equal
/// if these are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CauseDigest {
    count: u64,
    keys: u128,
}

impl Survey {
    /// Takes note that a raid's events were read up to a place.
    pub(super) fn pass(&mut self, place: RaidPlace) {
        self.passed.insert(place.raid, place.seq);
    }

    pub(super) fn add(&mut self, player: PlayerId, cause: RaidPlace) {
        self.players.entry(player).or_default().add(cause);
    }

    /// Returns whether an event was read.
    pub(super) fn has_passed(&self, place: RaidPlace) -> bool {
        let passed = self.passed.get(&place.raid);
        passed.is_some_and(|passed| place.seq <= *passed)
    }

    pub(super) fn digest(&self, player: PlayerId) -> CauseDigest {
        self.players.get(&player).copied().unwrap_or_default()
    }

    /// Returns the players who have causes.
    pub(super) fn players(&self) -> impl Iterator<Item = PlayerId> {
        self.players.keys().copied()
    }
}

impl CauseDigest {
    fn add(&mut self, cause: RaidPlace) {
        self.count += 1;
        self.keys ^= u128::from_be_bytes(OpHash::from_cause(cause).0);
    }
}

impl FromIterator<RaidPlace> for CauseDigest {
    fn from_iter<I: IntoIterator<Item = RaidPlace>>(causes: I) -> CauseDigest {
        let mut digest = CauseDigest::default();
        for cause in causes {
            digest.add(cause);
        }
        digest
    }
}
