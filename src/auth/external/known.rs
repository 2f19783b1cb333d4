//! Who was seen lately: spares the store a look at each request of a foreign token.

use std::collections::HashMap;

use parking_lot::Mutex;
use raidhall_protocol::UnixMillis;
use raidhall_protocol::server::PlayerRef;

/// As many are remembered, and as many again that are older.
const GENERATION: usize = 32_768;
/// After so long the store is asked again: a name may have changed.
const REMEMBERED_MS: i64 = 600_000;

#[derive(Default)]
pub(super) struct Known(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<String, Seen>,
    old: HashMap<String, Seen>,
}

#[derive(Clone)]
struct Seen {
    player: PlayerRef,
    at: UnixMillis,
}

impl Known {
    pub(super) fn get(&self, external_id: &str, now: UnixMillis) -> Option<PlayerRef> {
        let mut generations = self.0.lock();
        let seen = generations
            .young
            .get(external_id)
            .or_else(|| generations.old.get(external_id))?
            .clone();
        if now.since(seen.at) > REMEMBERED_MS {
            return None;
        }
        if !generations.young.contains_key(external_id) {
            generations.insert(external_id, seen.clone());
        }
        Some(seen.player)
    }

    pub(super) fn put(&self, external_id: &str, player: PlayerRef, now: UnixMillis) {
        self.0.lock().insert(external_id, Seen { player, at: now });
    }
}

impl Generations {
    fn insert(&mut self, external_id: &str, seen: Seen) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(external_id.to_owned(), seen);
    }
}

#[cfg(test)]
mod tests {
    use raidhall_protocol::PlayerId;

    use super::*;

    fn player(id: u64) -> PlayerRef {
        PlayerRef {
            id: PlayerId::try_from(id).expect("an id"),
            name: "Ada".into(),
        }
    }

    #[test]
    fn whoever_comes_again_and_again_is_remembered_and_memory_is_bounded() {
        let (known, now) = (Known::default(), UnixMillis(0));
        known.put("host:1", player(1), now);
        for id in 2..200_000 {
            known.put(&format!("host:{id}"), player(id), now);
            if id % 1_000 == 0 {
                assert_eq!(known.get("host:1", now), Some(player(1)));
            }
        }
        let generations = known.0.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION);
    }

    #[test]
    fn the_store_is_asked_again_after_a_while() {
        let known = Known::default();
        known.put("host:1", player(1), UnixMillis(0));
        assert_eq!(
            known.get("host:1", UnixMillis(REMEMBERED_MS)),
            Some(player(1))
        );
        assert_eq!(known.get("host:1", UnixMillis(REMEMBERED_MS + 1)), None);
        assert_eq!(known.get("host:2", UnixMillis(0)), None);
    }
}
