//! Watchers of a raid at other instances, as reported to its owner.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raidhall_protocol::PlayerId;
use tokio::time::Instant;

use super::message::ReceivedReport;
use crate::cluster::membership::Membership;
use crate::store::InstanceId;

/// Interval between watcher reports when nothing has changed.
pub(super) const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Silence after which the owner asks an instance for a report; it asks again every
/// [`QUERY_INTERVAL`].
const SILENCE_MAX: Duration = Duration::from_secs(7);
const QUERY_INTERVAL: Duration = Duration::from_secs(1);

/// Age at which a report is stale: two report intervals and a margin.
const STALE_AFTER: Duration = Duration::from_secs(12);

/// Age up to which a report proves its sender alive; the list of live instances is renewed more
/// often than this.
const RECENT_REPORT_AGE: Duration = Duration::from_secs(2);

/// How long after a draining instance's last message its players are taken to be on their way to
/// another.
const DRAIN_WINDOW: Duration = Duration::from_secs(10);

/// The latest watcher report of each other live instance that has watchers.
#[derive(Default)]
pub(super) struct RemoteWatchers {
    audiences: BTreeMap<InstanceId, RemoteAudience>,
    /// Message number of each instance's latest report. An older report is ignored, even after the
    /// instance has reported that it has no watchers.
    latest_reports: BTreeMap<InstanceId, u64>,
    drained_at: Option<Instant>,
}

struct RemoteAudience {
    players: Vec<PlayerId>,
    /// Whether it has reported since this instance owns the raid that it receives presence.
    receives_presence: bool,
    last_report_at: Instant,
    /// When the owner asks for a report, if none arrives before.
    query_at: Instant,
}

impl RemoteWatchers {
    /// Applies a report. Returns whether the sender has watchers now who need presence: there were
    /// none before, or it did not receive presence from this owner before.
    pub(super) fn apply_report(&mut self, received: ReceivedReport, now: Instant) -> bool {
        let ReceivedReport {
            from,
            number,
            is_subscribed,
            report: watching,
        } = received;
        let latest = self.latest_reports.entry(from).or_default();
        if number < *latest {
            return false;
        }
        *latest = number;
        if watching.draining {
            self.drained_at = Some(now);
        }
        if !watching.watched {
            self.audiences.remove(&from);
            return false;
        }
        let remote = RemoteAudience {
            players: watching.players,
            receives_presence: is_subscribed,
            last_report_at: now,
            query_at: now + SILENCE_MAX,
        };
        let former = self.audiences.insert(from, remote);
        is_subscribed && !former.is_some_and(|remote| remote.receives_presence)
    }

    /// Records that this instance owns the raid from now on. The others may have presence from an
    /// owner in between.
    pub(super) fn begin_ownership(&mut self) {
        for remote in self.audiences.values_mut() {
            remote.receives_presence = false;
        }
    }

    /// Records that another instance has handed the raid to this one.
    pub(super) fn record_drain(&mut self, now: Instant) {
        self.drained_at = Some(now);
    }

    /// Removes instances whose lease has run out. Returns whether there was one. An instance with a
    /// recent report is kept, even if the membership does not list it yet.
    pub(super) fn remove_dead(&mut self, peers: &Membership, now: Instant) -> bool {
        let before = self.audiences.len();
        self.audiences.retain(|id, remote| {
            peers.is_live(*id) || now.duration_since(remote.last_report_at) < RECENT_REPORT_AGE
        });
        self.latest_reports
            .retain(|id, _| peers.is_live(*id) || self.audiences.contains_key(id));
        self.audiences.len() < before
    }

    /// Forgets all reports, because another instance owns the raid.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns whether no other instance has watchers.
    pub(super) fn is_empty(&self) -> bool {
        self.audiences.is_empty()
    }

    /// Returns the instances that have watchers.
    pub(super) fn instances(&self) -> impl Iterator<Item = InstanceId> {
        self.audiences.keys().copied()
    }

    /// Returns the players who watch at other instances.
    pub(super) fn players(&self) -> BTreeSet<PlayerId> {
        self.audiences
            .values()
            .flat_map(|remote| remote.players.iter().copied())
            .collect()
    }

    /// Returns the instances that must be asked for a report now, and schedules their next query.
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

    /// Returns when the next query is due.
    pub(super) fn next_query_at(&self) -> Option<Instant> {
        self.audiences.values().map(|remote| remote.query_at).min()
    }

    /// Returns whether a report is too old to prove anything about its instance's watchers.
    pub(super) fn has_stale_report(&self, now: Instant) -> bool {
        self.audiences
            .values()
            .any(|remote| now.duration_since(remote.last_report_at) >= STALE_AFTER)
    }

    /// Returns whether players may be on their way from a draining instance.
    pub(super) fn has_recent_drain(&self, now: Instant) -> bool {
        self.drained_at
            .is_some_and(|at| now.duration_since(at) < DRAIN_WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::cluster::message::WatcherReport;

    #[test]
    fn each_owner_sends_presence_to_an_instance_once_it_is_subscribed() {
        let mut remotes = RemoteWatchers::default();
        let report = |remotes: &mut RemoteWatchers, number, is_subscribed| {
            let received = ReceivedReport {
                from: InstanceId(Uuid::from_u128(1)),
                number,
                is_subscribed,
                report: WatcherReport {
                    watched: true,
                    ..WatcherReport::default()
                },
            };
            remotes.apply_report(received, Instant::now())
        };
        assert!(!report(&mut remotes, 1, false));
        assert!(report(&mut remotes, 2, true));
        assert!(!report(&mut remotes, 3, true));
        remotes.begin_ownership();
        assert!(report(&mut remotes, 4, true));
    }

    #[test]
    fn a_watcher_report_older_than_the_latest_is_ignored() {
        let mut remotes = RemoteWatchers::default();
        let now = Instant::now();
        let id = InstanceId(Uuid::from_u128(1));
        let mut report = |number, players: &[u64]| {
            let players: Vec<_> = players
                .iter()
                .map(|id| PlayerId::try_from(*id).expect("a test's id"))
                .collect();
            let report = WatcherReport {
                watched: !players.is_empty(),
                players,
                ..WatcherReport::default()
            };
            let received = ReceivedReport {
                from: id,
                number,
                is_subscribed: true,
                report,
            };
            remotes.apply_report(received, now);
            remotes
                .players()
                .iter()
                .map(|player| player.get())
                .collect::<Vec<_>>()
        };
        assert_eq!(report(1, &[1, 2]), [1, 2]);
        assert_eq!(report(2, &[2]), [2]);
        assert_eq!(report(1, &[1, 2]), [2]);
        assert_eq!(report(3, &[]), [] as [u64; 0]);
        assert_eq!(
            report(2, &[2]),
            [] as [u64; 0],
            "also after a report of no watchers"
        );
        assert_eq!(report(4, &[3]), [3]);
    }
}
