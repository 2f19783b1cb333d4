//! Who was seen lately: spares the store a look at each request of a foreign token.

use std::collections::HashMap;

use parking_lot::Mutex;
use raidhall_protocol::UnixMillis;
use raidhall_protocol::server::PlayerRef;

/// As many are remembered, and as many again that are older.
const GENERATION_ENTRIES_MAX: usize = 32_768;
/// After so long the store is asked again: a name may have changed.
const ENTRY_TTL_MS: i64 = 600_000;

#[derive(Default)]
pub(super) struct PlayerCache(Mutex<CacheGenerations>);

#[derive(Default)]
struct CacheGenerations {
    young: HashMap<String, CachedPlayer>,
    old: HashMap<String, CachedPlayer>,
}

#[derive(Clone)]
struct CachedPlayer {
    player: PlayerRef,
    cached_at: UnixMillis,
}

impl PlayerCache {
    pub(super) fn get(&self, external_id: &str, now: UnixMillis) -> Option<PlayerRef> {
        let mut generations = self.0.lock();
        let seen = generations
            .young
            .get(external_id)
            .or_else(|| generations.old.get(external_id))?
            .clone();
        if now.since(seen.cached_at) > ENTRY_TTL_MS {
            return None;
        }
        if !generations.young.contains_key(external_id) {
            generations.insert(external_id, seen.clone());
        }
        Some(seen.player)
    }

    pub(super) fn insert(&self, external_id: &str, player: PlayerRef, now: UnixMillis) {
        self.0.lock().insert(
            external_id,
            CachedPlayer {
                player,
                cached_at: now,
            },
        );
    }
}

impl CacheGenerations {
    fn insert(&mut self, external_id: &str, seen: CachedPlayer) {
        if self.young.len() >= GENERATION_ENTRIES_MAX {
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
    fn a_recurring_identity_is_remembered_and_memory_is_bounded() {
        let (known, now) = (PlayerCache::default(), UnixMillis(0));
        known.insert("host:1", player(1), now);
        for id in 2..200_000 {
            known.insert(&format!("host:{id}"), player(id), now);
            if id % 1_000 == 0 {
                assert_eq!(known.get("host:1", now), Some(player(1)));
            }
        }
        let generations = known.0.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION_ENTRIES_MAX);
    }

    #[test]
    fn a_remembered_identity_expires() {
        let known = PlayerCache::default();
        known.insert("host:1", player(1), UnixMillis(0));
        assert_eq!(
            known.get("host:1", UnixMillis(ENTRY_TTL_MS)),
            Some(player(1))
        );
        assert_eq!(known.get("host:1", UnixMillis(ENTRY_TTL_MS + 1)), None);
        assert_eq!(known.get("host:2", UnixMillis(0)), None);
    }
}
