//! Who watches a raid at other instances, as they have told its owner.

use crate::cluster::envelope::Watching;
use crate::cluster::peers::Peers;
use crate::store::InstanceId;
use raidhall_protocol::{PlayerId, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

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
    drained_at: Option<Instant>,
}

struct Remote {
    players: Vec<PlayerId>,
    /// When it said so, by the database's clock: an older word is of no account.
    at: UnixMillis,
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
        if self.remotes.get(&from).is_some_and(|remote| at < remote.at) {
            return false;
        }
        if watching.draining {
            self.drained_at = Some(now);
        }
        if !watching.watched {
            self.remotes.remove(&from);
            return false;
        }
        let remote = Remote { players: watching.players, at, heard: now, ask_at: now + SILENT };
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
        self.remotes.retain(|id, remote| peers.lives(*id) || now.duration_since(remote.heard) < LATELY);
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
        self.remotes.values().flat_map(|remote| remote.players.iter().copied()).collect()
    }

    /// Those who are to be asked now whether anybody watches there.
    pub(super) fn silent(&mut self, now: Instant) -> Vec<InstanceId> {
        let silent = self.remotes.iter_mut().filter(|(_, remote)| remote.ask_at <= now);
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
        self.remotes.values().any(|remote| now.duration_since(remote.heard) >= STALE)
    }

    /// Whether players are on their way from an instance that drains.
    pub(super) fn drains(&self, now: Instant) -> bool {
        self.drained_at.is_some_and(|at| now.duration_since(at) < DRAINED)
    }
}
