//! Who watches a raid at other instances, as they have told its owner.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raidhall_protocol::{PlayerId, UnixMillis};
use tokio::time::Instant;

use crate::cluster::membership::Peers;
use crate::cluster::message::Watching;
use crate::store::InstanceId;

/// How often an instance says who watches, though nothing has changed.
pub(super) const ANNOUNCE_EVERY: Duration = Duration::from_secs(5);

/// An instance that was not heard for so long is asked, and again as often as [`ASK_EVERY`].
const SILENT: Duration = Duration::from_secs(7);
const ASK_EVERY: Duration = Duration::from_secs(1);

/// An instance that was not heard for so long, two announcements and a margin, is in doubt.
const STALE: Duration = Duration::from_secs(12);

/// How long ago an instance may have spoken to be taken for living: our list of who lives is renewed in less.
const LATELY: Duration = Duration::from_secs(2);

/// How long after a draining instance was last heard its players count as on their way to another.
const DRAINED: Duration = Duration::from_secs(10);

/// The watchers of each other instance that has any.
#[derive(Default)]
pub(super) struct Remotes {
    remotes: BTreeMap<InstanceId, Remote>,
    /// When each instance that lives last said anything, by the database's clock: an older word is of no account, and
    /// a goodbye stays one.
    latest: BTreeMap<InstanceId, UnixMillis>,
    drained_at: Option<Instant>,
}

struct Remote {
    players: Vec<PlayerId>,
    heard: Instant,
    /// When it is asked, if it stays silent.
    ask_at: Instant,
}

impl Remotes {
    /// Takes in what an instance says. True if it had not been known to have watchers.
    pub(super) fn hear(
        &mut self,
        from: InstanceId,
        at: UnixMillis,
        watching: Watching,
        now: Instant,
    ) -> bool {
        let latest = self.latest.entry(from).or_insert(at);
        if at < *latest {
            return false;
        }
        *latest = at;
        if watching.draining {
            self.drained_at = Some(now);
        }
        if !watching.watched {
            self.remotes.remove(&from);
            return false;
        }
        let remote = Remote {
            players: watching.players,
            heard: now,
            ask_at: now + SILENT,
        };
        self.remotes.insert(from, remote).is_none()
    }

    /// An instance drains and has handed us the raid.
    pub(super) fn drained(&mut self, now: Instant) {
        self.drained_at = Some(now);
    }

    /// Forgets those whose lease has run out. True if there was one. Whoever has spoken lately lives, though our list
    /// may not say so yet.
    pub(super) fn forget_dead(&mut self, peers: &Peers, now: Instant) -> bool {
        let before = self.remotes.len();
        self.remotes
            .retain(|id, remote| peers.lives(*id) || now.duration_since(remote.heard) < LATELY);
        self.latest
            .retain(|id, _| peers.lives(*id) || self.remotes.contains_key(id));
        self.remotes.len() < before
    }

    /// Forgets everybody: another instance owns the raid.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether nobody watches elsewhere.
    pub(super) fn is_empty(&self) -> bool {
        self.remotes.is_empty()
    }

    /// The instances that have watchers.
    pub(super) fn instances(&self) -> impl Iterator<Item = InstanceId> {
        self.remotes.keys().copied()
    }

    /// The players who watch elsewhere.
    pub(super) fn players(&self) -> BTreeSet<PlayerId> {
        self.remotes
            .values()
            .flat_map(|remote| remote.players.iter().copied())
            .collect()
    }

    /// Those who are to be asked now whether anybody watches there.
    pub(super) fn silent(&mut self, now: Instant) -> Vec<InstanceId> {
        let silent = self
            .remotes
            .iter_mut()
            .filter(|(_, remote)| remote.ask_at <= now);
        silent
            .map(|(id, remote)| {
                remote.ask_at = now + ASK_EVERY;
                *id
            })
            .collect()
    }

    /// When somebody is to be asked next.
    pub(super) fn next_silence(&self) -> Option<Instant> {
        self.remotes.values().map(|remote| remote.ask_at).min()
    }

    /// Whether an instance that lives has not been heard for too long: what it last said proves nothing.
    pub(super) fn in_doubt(&self, now: Instant) -> bool {
        self.remotes
            .values()
            .any(|remote| now.duration_since(remote.heard) >= STALE)
    }

    /// Whether players are on their way from an instance that drains.
    pub(super) fn drains(&self, now: Instant) -> bool {
        self.drained_at
            .is_some_and(|at| now.duration_since(at) < DRAINED)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_word_of_before_is_of_no_account_even_after_a_goodbye() {
        let (mut remotes, now) = (Remotes::default(), Instant::now());
        let id = InstanceId(Uuid::from_u128(1));
        let mut says = |at, players: &[u64]| {
            let players: Vec<_> = players
                .iter()
                .map(|id| PlayerId::try_from(*id).expect("a test's id"))
                .collect();
            let watching = Watching {
                watched: !players.is_empty(),
                players,
                ..Watching::default()
            };
            remotes.hear(id, UnixMillis(at), watching, now);
            remotes
                .players()
                .iter()
                .map(|player| player.get())
                .collect::<Vec<_>>()
        };
        assert_eq!(says(1_000, &[1, 2]), [1, 2]);
        assert_eq!(says(2_000, &[2]), [2]);
        assert_eq!(says(1_000, &[1, 2]), [2]);
        assert_eq!(says(3_000, &[]), [] as [u64; 0]);
        assert_eq!(says(2_000, &[2]), [] as [u64; 0], "a goodbye stays one");
        assert_eq!(says(3_001, &[3]), [3]);
    }
}
