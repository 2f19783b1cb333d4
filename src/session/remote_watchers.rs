//! Who watches a raid at other instances, as they have told its owner.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raidhall_protocol::{PlayerId, UnixMillis};
use tokio::time::Instant;

use crate::cluster::membership::Membership;
use crate::cluster::message::WatcherReport;
use crate::store::InstanceId;

/// How often an instance says who watches, though nothing has changed.
pub(super) const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// An instance that was not heard for so long is asked, and again as often as [`QUERY_INTERVAL`].
const SILENCE_MAX: Duration = Duration::from_secs(7);
const QUERY_INTERVAL: Duration = Duration::from_secs(1);

/// An instance that was not heard for so long, two announcements and a margin, is in doubt.
const STALE_AFTER: Duration = Duration::from_secs(12);

/// How long ago an instance may have spoken to be taken for living: our list of who lives is renewed in less.
const RECENT_REPORT_AGE: Duration = Duration::from_secs(2);

/// How long after a draining instance was last heard its players count as on their way to another.
const DRAIN_WINDOW: Duration = Duration::from_secs(10);

/// The watchers of each other instance that has any.
#[derive(Default)]
pub(super) struct RemoteWatchers {
    audiences: BTreeMap<InstanceId, RemoteAudience>,
    /// When each instance that lives last said anything, by the database's clock: an older word is of no account, and
    /// a goodbye stays one.
    latest_report_at: BTreeMap<InstanceId, UnixMillis>,
    drained_at: Option<Instant>,
}

struct RemoteAudience {
    players: Vec<PlayerId>,
    last_report_at: Instant,
    /// When it is asked, if it stays silent.
    query_at: Instant,
}

impl RemoteWatchers {
    /// Takes in what an instance says. True if it had not been known to have watchers.
    pub(super) fn apply_report(
        &mut self,
        from: InstanceId,
        at: UnixMillis,
        watching: WatcherReport,
        now: Instant,
    ) -> bool {
        let latest = self.latest_report_at.entry(from).or_insert(at);
        if at < *latest {
            return false;
        }
        *latest = at;
        if watching.draining {
            self.drained_at = Some(now);
        }
        if !watching.watched {
            self.audiences.remove(&from);
            return false;
        }
        let remote = RemoteAudience {
            players: watching.players,
            last_report_at: now,
            query_at: now + SILENCE_MAX,
        };
        self.audiences.insert(from, remote).is_none()
    }

    /// An instance drains and has handed us the raid.
    pub(super) fn record_drain(&mut self, now: Instant) {
        self.drained_at = Some(now);
    }

    /// Forgets those whose lease has run out. True if there was one. Whoever has spoken lately lives, though our list
    /// may not say so yet.
    pub(super) fn remove_dead(&mut self, peers: &Membership, now: Instant) -> bool {
        let before = self.audiences.len();
        self.audiences.retain(|id, remote| {
            peers.is_live(*id) || now.duration_since(remote.last_report_at) < RECENT_REPORT_AGE
        });
        self.latest_report_at
            .retain(|id, _| peers.is_live(*id) || self.audiences.contains_key(id));
        self.audiences.len() < before
    }

    /// Forgets everybody: another instance owns the raid.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether nobody watches elsewhere.
    pub(super) fn is_empty(&self) -> bool {
        self.audiences.is_empty()
    }

    /// The instances that have watchers.
    pub(super) fn instances(&self) -> impl Iterator<Item = InstanceId> {
        self.audiences.keys().copied()
    }

    /// The players who watch elsewhere.
    pub(super) fn players(&self) -> BTreeSet<PlayerId> {
        self.audiences
            .values()
            .flat_map(|remote| remote.players.iter().copied())
            .collect()
    }

    /// Those who are to be asked now whether anybody watches there.
    pub(super) fn take_due_queries(&mut self, now: Instant) -> Vec<InstanceId> {
        let silent = self
            .audiences
            .iter_mut()
            .filter(|(_, remote)| remote.query_at <= now);
        silent
            .map(|(id, remote)| {
                remote.query_at = now + QUERY_INTERVAL;
                *id
            })
            .collect()
    }

    /// When somebody is to be asked next.
    pub(super) fn next_query_at(&self) -> Option<Instant> {
        self.audiences.values().map(|remote| remote.query_at).min()
    }

    /// Whether an instance that lives has not been heard for too long: what it last said proves nothing.
    pub(super) fn has_stale_report(&self, now: Instant) -> bool {
        self.audiences
            .values()
            .any(|remote| now.duration_since(remote.last_report_at) >= STALE_AFTER)
    }

    /// Whether players are on their way from an instance that drains.
    pub(super) fn has_recent_drain(&self, now: Instant) -> bool {
        self.drained_at
            .is_some_and(|at| now.duration_since(at) < DRAIN_WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_older_presence_message_is_ignored_even_after_a_goodbye() {
        let (mut remotes, now) = (RemoteWatchers::default(), Instant::now());
        let id = InstanceId(Uuid::from_u128(1));
        let mut says = |at, players: &[u64]| {
            let players: Vec<_> = players
                .iter()
                .map(|id| PlayerId::try_from(*id).expect("a test's id"))
                .collect();
            let watching = WatcherReport {
                watched: !players.is_empty(),
                players,
                ..WatcherReport::default()
            };
            remotes.apply_report(id, UnixMillis(at), watching, now);
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
