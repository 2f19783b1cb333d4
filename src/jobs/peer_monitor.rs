//! Watches whether the bus carries this instance's messages to the other live instances.
//!
//! After a failover two Redis servers may both consider themselves master. Each instance's own probe
//! returns, but what is published on one server does not reach the instances at the other. Therefore
//! each instance counts the receivers of every other instance's inbox, where there must be one.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::cluster::client::ClusterClient;
use crate::cluster::membership::LivePeer;
use crate::store::InstanceId;
use crate::telemetry::metrics;

/// Interval between two counts.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time from the first reconnect to the second. It doubles with every further one that reaches no
/// other instance: each reconnect is a doubt about who is online, and begins their grace again.
const RECONNECT_INTERVAL_MIN: Duration = Duration::from_secs(10);
const RECONNECT_INTERVAL_MAX: Duration = Duration::from_secs(600);

/// Task that watches whether the bus reaches the other instances.
pub struct PeerMonitor {
    /// The cluster's members, and the bus.
    pub cluster: ClusterClient,
}

impl PeerMonitor {
    /// Watches until dropped. Calls `set_unreachable` after each count.
    pub async fn run(self, set_unreachable: impl Fn(bool)) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reachability = PeerReachability::default();
        let mut reconnects = ReconnectSchedule::default();
        loop {
            ticks.tick().await;
            let peers = self.cluster.membership().live_peers();
            // All at once: each count ends within the bus's limit.
            let counting = peers
                .iter()
                .map(|peer| self.cluster.count_receivers(peer.id));
            let counts = join_all(counting).await;
            reachability.retain(&peers);
            for (peer, receivers) in peers.iter().zip(counts) {
                log_change(peer, reachability.record(peer, receivers));
            }
            let unreachable = reachability.unreachable_count();
            metrics().bus_unreachable_peers.set(unreachable as f64);
            set_unreachable(unreachable > 0);
            if reconnects.is_due(may_be_at_wrong_server(peers.len(), unreachable)) {
                self.cluster.reconnect_bus();
            }
        }
    }
}

fn log_change(peer: &LivePeer, change: Option<ReachabilityChange>) {
    let LivePeer { id, ws_url, .. } = peer;
    match change {
        Some(ReachabilityChange::Lost) => warn!(
            instance = %id.0,
            ws_url,
            "an instance that is alive does not receive what this one publishes: one of them may be \
             connected to another Redis server; check that bus.url leads both to the same master, \
             and the other instance's log"
        ),
        Some(ReachabilityChange::Regained) => {
            info!(instance = %id.0, ws_url, "the bus reaches the instance again");
        }
        None => {}
    }
}

/// When the bus is to open new connections.
#[derive(Default)]
struct ReconnectSchedule {
    /// The latest reconnect, and the time that must pass after it.
    latest: Option<(Instant, Duration)>,
}

impl ReconnectSchedule {
    /// Returns whether to reconnect now; a caller that gets `true` does.
    fn is_due(&mut self, is_needed: bool) -> bool {
        if !is_needed {
            self.latest = None;
            return false;
        }
        let interval = match self.latest {
            Some((at, interval)) if at.elapsed() < interval => return false,
            Some((_, interval)) => (interval * 2).min(RECONNECT_INTERVAL_MAX),
            None => RECONNECT_INTERVAL_MIN,
        };
        self.latest = Some((Instant::now(), interval));
        true
    }
}

/// Returns whether this instance, rather than the others, may be at the wrong server: at least half
/// of all instances are unreachable. So one of three that has lost Redis makes no other reconnect.
const fn may_be_at_wrong_server(peers: usize, unreachable: usize) -> bool {
    unreachable > peers - unreachable
}

/// The live instances whose inboxes had no receiver at the latest count.
#[derive(Default)]
struct PeerReachability(HashMap<InstanceId, MissingReceiver>);

struct MissingReceiver {
    /// When a count first found no receiver.
    since: Instant,
    is_unreachable: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum ReachabilityChange {
    /// The instance has become unreachable.
    Lost,
    /// The instance is reachable again.
    Regained,
}

impl PeerReachability {
    /// Records a count that was made just now. An instance is unreachable if two counts found no
    /// receiver and it has renewed its lease after the first of them: one that has crashed stays a
    /// member until its lease expires.
    fn record(&mut self, peer: &LivePeer, receivers: Option<u64>) -> Option<ReachabilityChange> {
        if receivers? > 0 {
            let missing = self.0.remove(&peer.id)?;
            return missing
                .is_unreachable
                .then_some(ReachabilityChange::Regained);
        }
        let missing = self.0.entry(peer.id).or_insert(MissingReceiver {
            since: Instant::now(),
            is_unreachable: false,
        });
        let was_alive = peer.lease_renewed_at.is_some_and(|at| at > missing.since);
        if missing.is_unreachable || !was_alive {
            return None;
        }
        missing.is_unreachable = true;
        Some(ReachabilityChange::Lost)
    }

    /// Forgets the instances that are no longer live.
    fn retain(&mut self, peers: &[LivePeer]) {
        let live: HashSet<_> = peers.iter().map(|peer| peer.id).collect();
        self.0.retain(|id, _| live.contains(id));
    }

    fn unreachable_count(&self) -> usize {
        self.0.values().filter(|it| it.is_unreachable).count()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;
    use uuid::Uuid;

    use super::*;

    fn peer(number: u128, lease_renewed_at: Option<Instant>) -> LivePeer {
        LivePeer {
            id: InstanceId(Uuid::from_u128(number)),
            ws_url: format!("ws://{number}"),
            lease_renewed_at,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_renews_its_lease_without_a_receiver_is_unreachable() {
        let mut reachability = PeerReachability::default();
        let peer = || peer(1, Some(Instant::now()));
        assert_eq!(reachability.record(&peer(), Some(0)), None, "one count");
        advance(INTERVAL).await;
        let lost = reachability.record(&peer(), Some(0));
        assert_eq!(lost, Some(ReachabilityChange::Lost));
        assert_eq!(reachability.unreachable_count(), 1);
        advance(INTERVAL).await;
        assert_eq!(reachability.record(&peer(), Some(0)), None, "told once");
        assert_eq!(reachability.record(&peer(), None), None);
        assert_eq!(reachability.unreachable_count(), 1);
        let regained = reachability.record(&peer(), Some(1));
        assert_eq!(regained, Some(ReachabilityChange::Regained));
        assert_eq!(reachability.unreachable_count(), 0);
        assert_eq!(reachability.record(&peer(), Some(1)), None, "told once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_without_a_renewal_since_the_first_count_is_not_unreachable() {
        let mut reachability = PeerReachability::default();
        let crashed = peer(1, Some(Instant::now()));
        let unknown = peer(2, None);
        for _ in 0..3 {
            for peer in [&crashed, &unknown] {
                assert_eq!(reachability.record(peer, Some(0)), None);
            }
            advance(INTERVAL).await;
        }
        assert_eq!(reachability.unreachable_count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_between_two_counts_without_one_proves_the_peer_reachable() {
        let mut reachability = PeerReachability::default();
        for receivers in [Some(0), Some(1), Some(0), None] {
            let peer = peer(1, Some(Instant::now()));
            assert_eq!(reachability.record(&peer, receivers), None);
            advance(INTERVAL).await;
        }
        let peer = peer(1, Some(Instant::now()));
        let lost = reachability.record(&peer, Some(0));
        assert_eq!(lost, Some(ReachabilityChange::Lost));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_whose_lease_ends_is_forgotten() {
        let mut reachability = PeerReachability::default();
        for _ in 0..2 {
            reachability.record(&peer(1, Some(Instant::now())), Some(0));
            reachability.record(&peer(2, Some(Instant::now())), Some(0));
            advance(INTERVAL).await;
        }
        assert_eq!(reachability.unreachable_count(), 2);
        reachability.retain(&[peer(2, None)]);
        assert_eq!(reachability.unreachable_count(), 1);
        reachability.retain(&[]);
        assert_eq!(reachability.unreachable_count(), 0);
    }

    #[test]
    fn an_instance_may_be_at_the_wrong_server_if_half_of_all_are_unreachable() {
        for (peers, unreachable, expected) in [
            (0, 0, false),
            (1, 0, false),
            (1, 1, true),
            (2, 1, false),
            (2, 2, true),
            (3, 1, false),
            (3, 2, true),
        ] {
            assert_eq!(may_be_at_wrong_server(peers, unreachable), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reconnects_become_rarer_until_they_are_not_needed() {
        let mut reconnects = ReconnectSchedule::default();
        let mut at = Vec::new();
        for second in 0..80 {
            if reconnects.is_due(true) {
                at.push(second);
            }
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(at, [0, 10, 30, 70]);
        assert!(!reconnects.is_due(false));
        assert!(reconnects.is_due(true), "another fault");
    }
}
