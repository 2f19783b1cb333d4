//! Cache of recent players: spares the store a read for each request with another issuer's token.

use std::collections::HashMap;

use parking_lot::Mutex;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{PlayerId, UnixMillis};

/// Entries per generation; there are two generations.
const GENERATION_ENTRIES_MAX: usize = 32_768;
/// Age at which an entry is read from the store again: the player's name may have changed.
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
        let cached = generations
            .young
            .get(external_id)
            .or_else(|| generations.old.get(external_id))?
            .clone();
        if now.since(cached.cached_at) > ENTRY_TTL_MS {
            return None;
        }
        if !generations.young.contains_key(external_id) {
            generations.insert(external_id, cached.clone());
        }
        Some(cached.player)
    }

    /// Forgets players whose ban changed or who were erased: their identity may be another player's
    /// now.
    pub(super) fn forget(&self, is_changed: impl Fn(PlayerId) -> bool) {
        let CacheGenerations { young, old } = &mut *self.0.lock();
        for generation in [young, old] {
            generation.retain(|_, cached| !is_changed(cached.player.id));
        }
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
    fn insert(&mut self, external_id: &str, cached: CachedPlayer) {
        if self.young.len() >= GENERATION_ENTRIES_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(external_id.to_owned(), cached);
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
        let cache = PlayerCache::default();
        let now = UnixMillis(0);
        cache.insert("host:1", player(1), now);
        for id in 2..200_000 {
            cache.insert(&format!("host:{id}"), player(id), now);
            if id % 1_000 == 0 {
                assert_eq!(cache.get("host:1", now), Some(player(1)));
            }
        }
        let generations = cache.0.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION_ENTRIES_MAX);
    }

    #[test]
    fn a_remembered_identity_expires() {
        let cache = PlayerCache::default();
        cache.insert("host:1", player(1), UnixMillis(0));
        assert_eq!(
            cache.get("host:1", UnixMillis(ENTRY_TTL_MS)),
            Some(player(1))
        );
        assert_eq!(cache.get("host:1", UnixMillis(ENTRY_TTL_MS + 1)), None);
        assert_eq!(cache.get("host:2", UnixMillis(0)), None);
    }
}
