//! Membership: the other live instances and the addresses at which clients reach them, as known
//! from their leases.
//!
//! The database decides which leases are valid. Each renewal of this instance's lease returns the
//! list of live instances; between two renewals, a lease that is not seen to be renewed expires
//! here at the same time as in the database. But a database that is silent for this instance may be
//! silent for all of them, so no lease expires here until the database has answered again.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use raidhall_protocol::{RaidId, UnixMillis};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::store::{InstanceId, PeerInstance};

/// How much later than in the database a lease expires here: what was read is some milliseconds
/// old.
const EXPIRY_DELAY: Duration = Duration::from_millis(50);

/// The other live instances. Cheap to clone.
#[derive(Clone)]
pub struct Membership(Arc<MembershipInner>);

struct MembershipInner {
    ttl: Duration,
    /// Time of the latest list from the database.
    updated_at: RwLock<Instant>,
    peers: RwLock<HashMap<InstanceId, KnownPeer>>,
    /// Instances that the latest list does not name, and that are kept for now because they may
    /// renew their leases.
    unlisted: Mutex<HashSet<InstanceId>>,
    /// Changes when an instance joins, leaves or begins to drain.
    changes: watch::Sender<u64>,
    /// Changes with every update of the membership.
    updates: watch::Sender<u64>,
}

/// Last known facts about an instance.
#[derive(Clone)]
struct KnownPeer {
    ws_url: String,
    draining: bool,
    /// When its lease expires here unless it is seen to be renewed. Measured by this machine's
    /// clock, because the database's clock may be set.
    expires_at: Instant,
    lease_renewed_at: Option<Instant>,
}

/// A live instance, and what shows that it was alive.
#[derive(Debug, Clone)]
pub struct LivePeer {
    pub id: InstanceId,
    pub ws_url: String,
    /// When its lease was renewed at the earliest, by this machine's clock: the instance was alive
    /// then. `None` if that is unknown.
    pub lease_renewed_at: Option<Instant>,
}

impl Membership {
    /// Creates an empty membership. `ttl` is the duration of a lease.
    pub fn new(ttl: Duration) -> Membership {
        Membership(Arc::new(MembershipInner {
            ttl,
            updated_at: RwLock::new(Instant::now()),
            peers: RwLock::default(),
            unlisted: Mutex::default(),
            changes: watch::Sender::new(0),
            updates: watch::Sender::new(0),
        }))
    }

    /// Applies the list of live instances as of `now`, which the database was asked for at
    /// `asked_at`. If this instance's own lease had `lapsed`, the list removes no instance at once:
    /// those that have not renewed their leases either get the duration of a lease to do so.
    pub fn update(
        &self,
        asked_at: Instant,
        now: UnixMillis,
        living: Vec<PeerInstance>,
        lapsed: bool,
    ) {
        let before = self.drain_statuses();
        let now_here = Instant::now();
        *self.0.updated_at.write() = now_here;
        {
            let mut peers = self.0.peers.write();
            let mut next: HashMap<_, _> = living
                .into_iter()
                .map(
                    |PeerInstance {
                         id,
                         ws_url,
                         draining,
                         ttl,
                         lease_until,
                     }| {
                        let left = u64::try_from(lease_until.since(now)).unwrap_or(0);
                        let left = Duration::from_millis(left);
                        // More than `ttl` is left only of a lease that was written while the
                        // database's clock was ahead: nothing tells when.
                        let age = ttl.checked_sub(left);
                        (
                            id,
                            KnownPeer {
                                ws_url,
                                draining,
                                expires_at: now_here + left.min(ttl),
                                lease_renewed_at: age.and_then(|age| asked_at.checked_sub(age)),
                            },
                        )
                    },
                )
                .collect();
            let mut unlisted = self.0.unlisted.lock();
            let unlisted_before = std::mem::take(&mut *unlisted);
            let missing: Vec<_> = peers
                .drain()
                .filter(|(id, _)| !next.contains_key(id))
                .collect();
            for (id, peer) in missing {
                let until = if lapsed {
                    now_here + self.0.ttl
                } else {
                    peer.expires_at
                };
                if lapsed || (unlisted_before.contains(&id) && until > now_here) {
                    unlisted.insert(id);
                    next.insert(
                        id,
                        KnownPeer {
                            expires_at: until,
                            ..peer
                        },
                    );
                }
            }
            *peers = next;
        }
        self.notify_changes(before);
    }

    /// Adds an instance that the store named as a live owner, which may be newer than the latest
    /// list.
    pub fn insert_owner(&self, id: InstanceId, ws_url: &str) {
        let before = self.drain_statuses();
        {
            let mut peers = self.0.peers.write();
            peers.entry(id).or_insert(KnownPeer {
                ws_url: ws_url.to_owned(),
                draining: false,
                expires_at: Instant::now() + self.0.ttl,
                lease_renewed_at: None,
            });
        }
        self.notify_changes(before);
    }

    /// Returns the live instances.
    pub fn live_peers(&self) -> Vec<LivePeer> {
        let peers = self.0.peers.read();
        peers
            .iter()
            .map(|(id, peer)| LivePeer {
                id: *id,
                ws_url: peer.ws_url.clone(),
                lease_renewed_at: peer.lease_renewed_at,
            })
            .collect()
    }

    /// Returns whether an instance's lease is valid.
    pub fn is_live(&self, id: InstanceId) -> bool {
        self.0.peers.read().contains_key(&id)
    }

    /// Returns the WebSocket URL at which clients reach a live instance.
    pub fn ws_url(&self, id: InstanceId) -> Option<String> {
        self.0.peers.read().get(&id).map(|peer| peer.ws_url.clone())
    }

    /// Returns whether there is a successor candidate.
    pub fn has_successor_candidate(&self) -> bool {
        self.0.peers.read().values().any(|peer| !peer.draining)
    }

    /// Returns whether an instance is live and does not drain.
    pub fn is_successor_candidate(&self, id: InstanceId) -> bool {
        self.0
            .peers
            .read()
            .get(&id)
            .is_some_and(|peer| !peer.draining)
    }

    /// Returns the successor candidate for a raid, after `attempts` others that did not claim it.
    /// Raids are spread evenly over the candidates (rendezvous hashing, Thaler and Ravishankar 1998).
    pub fn successor_for(&self, raid: RaidId, attempts: usize) -> Option<InstanceId> {
        let peers = self.0.peers.read();
        let mut candidates: Vec<_> = peers
            .iter()
            .filter(|(_, peer)| !peer.draining)
            .map(|(id, _)| *id)
            .collect();
        candidates.sort_unstable_by_key(|id| Reverse(rendezvous_weight(raid, *id)));
        candidates.into_iter().cycle().nth(attempts)
    }

    /// Returns a receiver that changes when an instance joins, leaves or begins to drain.
    pub fn watch_changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Returns a receiver that changes with every update of the membership.
    pub fn watch_updates(&self) -> watch::Receiver<u64> {
        self.0.updates.subscribe()
    }

    /// Removes instances whose leases expire, until dropped. `has_lease` says whether this instance
    /// holds a lease itself: without one it knows nothing about others.
    pub async fn run(self, has_lease: impl Fn() -> bool) {
        let mut updates = self.0.updates.subscribe();
        loop {
            updates.mark_unchanged();
            let next = self
                .0
                .peers
                .read()
                .values()
                .map(|peer| peer.expires_at)
                .min();
            let expiry = async {
                match next {
                    Some(at) => sleep_until(at + EXPIRY_DELAY).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { biased;
                changed = updates.changed() => if changed.is_err() { return },
                () = expiry => {
                    if has_lease() && self.is_database_responsive() {
                        self.remove_expired();
                    } else if updates.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Returns whether the database has answered within half the duration of a lease.
    fn is_database_responsive(&self) -> bool {
        self.0.updated_at.read().elapsed() < self.0.ttl / 2
    }

    fn remove_expired(&self) {
        let before = self.drain_statuses();
        let now = Instant::now();
        self.0
            .peers
            .write()
            .retain(|_, peer| peer.expires_at + EXPIRY_DELAY > now);
        self.notify_changes(before);
    }

    /// Returns the live instances and whether each drains.
    fn drain_statuses(&self) -> Vec<(InstanceId, bool)> {
        let peers = self.0.peers.read();
        let mut statuses: Vec<_> = peers
            .iter()
            .map(|(id, peer)| (*id, peer.draining))
            .collect();
        statuses.sort_unstable();
        statuses
    }

    fn notify_changes(&self, before: Vec<(InstanceId, bool)>) {
        self.0.updates.send_modify(|count| *count += 1);
        if before != self.drain_statuses() {
            self.0.changes.send_modify(|count| *count += 1);
        }
    }
}

/// Returns a pseudorandom number for a pair, the same on every instance (the finaliser of
/// SplitMix64, Steele et al. 2014).
fn rendezvous_weight(raid: RaidId, instance: InstanceId) -> u64 {
    let (high, low) = instance.0.as_u64_pair();
    let mut mixed = raid.get() ^ high.rotate_left(31) ^ low;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::time::{advance, sleep};
    use uuid::Uuid;

    use super::*;

    const TTL: Duration = Duration::from_secs(3);
    const START: UnixMillis = UnixMillis(1_000_000);

    fn id(number: u128) -> InstanceId {
        InstanceId(Uuid::from_u128(number))
    }

    fn peer(number: u128, lease_until: UnixMillis) -> PeerInstance {
        PeerInstance {
            id: id(number),
            ws_url: format!("ws://{number}"),
            draining: false,
            ttl: TTL,
            lease_until,
        }
    }

    fn peers() -> Membership {
        Membership::new(TTL)
    }

    #[tokio::test(start_paused = true)]
    async fn an_unrenewed_lease_runs_out_on_time() {
        let peers = peers();
        let mut changes = peers.watch_changes();
        let began = Instant::now();
        let living = vec![peer(1, START.plus(2_500)), peer(2, START.plus(3_000))];
        peers.update(Instant::now(), START, living.clone(), false);
        changes.changed().await.expect("an instance joined");
        advance(Duration::from_secs(2)).await;
        peers.update(Instant::now(), START.plus(2_000), living, false);
        let watching = peers.clone().run(|| true);
        tokio::select! { biased; () = watching => unreachable!(), changed = changes.changed() => changed.expect("gone") }
        let after = began.elapsed();
        assert!(
            after >= Duration::from_millis(2_500) && after < Duration::from_millis(2_600),
            "{after:?}"
        );
        assert!(!peers.is_live(id(1)) && peers.is_live(id(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_listed_lease_tells_when_it_was_renewed_at_the_earliest() {
        let peers = peers();
        let renewed_at = |number| {
            let live = peers.live_peers();
            let peer = live.iter().find(|peer| peer.id == id(number));
            peer.expect("a live instance").lease_renewed_at
        };
        let asked_at = Instant::now();
        advance(Duration::from_millis(700)).await;
        let living = vec![peer(1, START.plus(2_600)), peer(2, START.plus(3_001))];
        peers.update(asked_at, START, living, false);
        let at = asked_at.checked_sub(Duration::from_millis(400));
        assert_eq!(renewed_at(1), at, "by an answer that took 700 ms");
        assert_eq!(
            renewed_at(2),
            None,
            "written while the database's clock was ahead"
        );
        peers.insert_owner(id(1), "ws://1");
        assert_eq!(renewed_at(1), at);
        peers.insert_owner(id(3), "ws://3");
        assert_eq!(renewed_at(3), None);
        advance(Duration::from_secs(1)).await;
        peers.update(Instant::now(), START.plus(1_000), vec![], true);
        assert_eq!(renewed_at(1), at, "a longer lease is no renewal");
        peers.update(Instant::now(), START.plus(1_000), vec![], false);
        assert_eq!(renewed_at(1), at);
    }

    #[tokio::test(start_paused = true)]
    async fn no_instance_is_declared_dead_while_the_database_is_silent() {
        let peers = peers();
        peers.update(
            Instant::now(),
            START,
            vec![peer(1, START.plus(2_000))],
            false,
        );
        let watching = peers.clone().run(|| true);
        let silence = sleep(Duration::from_secs(30));
        tokio::select! { biased; () = watching => unreachable!(), () = silence => {} }
        assert!(peers.is_live(id(1)));
        peers.update(Instant::now(), START.plus(30_000), vec![], false);
        assert!(!peers.is_live(id(1)), "the database has spoken");
    }

    #[tokio::test(start_paused = true)]
    async fn a_resumed_instance_grants_the_others_a_full_lease() {
        let peers = peers();
        peers.update(
            Instant::now(),
            START,
            vec![peer(1, START.plus(3_000))],
            false,
        );
        let later = START.plus(10_000);
        peers.update(Instant::now(), later, vec![], true);
        assert!(
            peers.is_live(id(1)),
            "it may have been away for the same reason"
        );
        // A resumed instance renews its lease again at once.
        advance(Duration::from_millis(10)).await;
        peers.update(Instant::now(), later.plus(10), vec![], false);
        assert!(
            peers.is_live(id(1)),
            "it may need as long as its lease lasts"
        );
        advance(Duration::from_millis(2_990)).await;
        peers.update(Instant::now(), later.plus(3_000), vec![], false);
        assert!(!peers.is_live(id(1)));
        peers.update(
            Instant::now(),
            later.plus(3_100),
            vec![peer(1, later.plus(6_000))],
            false,
        );
        peers.update(Instant::now(), later.plus(3_200), vec![], false);
        assert!(
            !peers.is_live(id(1)),
            "an instance that ends its lease is gone at once"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_clock_set_back_declares_no_instance_dead() {
        let peers = peers();
        peers.update(
            Instant::now(),
            START,
            vec![peer(1, START.plus(3_000))],
            false,
        );
        let watching = peers.clone().run(|| true);
        let set_back = async {
            for second in 0..10 {
                sleep(Duration::from_secs(1)).await;
                let now = START.plus(1_000 * second - 60_000);
                peers.update(Instant::now(), now, vec![peer(1, now.plus(3_000))], false);
                assert!(peers.is_live(id(1)));
            }
        };
        tokio::select! { biased; () = watching => unreachable!(), () = set_back => {} }
    }

    #[tokio::test(start_paused = true)]
    async fn an_owner_newer_than_the_membership_list_is_assumed_alive() {
        let peers = peers();
        peers.insert_owner(id(9), "ws://nine");
        assert_eq!(peers.ws_url(id(9)).as_deref(), Some("ws://nine"));
    }

    #[tokio::test(start_paused = true)]
    async fn raids_are_spread_over_instances_that_do_not_drain() {
        let peers = peers();
        let mut living: Vec<_> = (1..=4)
            .map(|number| peer(number, START.plus(3_000)))
            .collect();
        living[0].draining = true;
        peers.update(Instant::now(), START, living, false);
        let mut counts = HashMap::new();
        for raid in 1..=3_000_u64 {
            let successor = |attempts| {
                peers
                    .successor_for(RaidId::try_from(raid).expect("an id"), attempts)
                    .expect("there are candidates")
            };
            *counts.entry(successor(0)).or_insert(0) += 1;
            let all: BTreeSet<_> = (0..3).map(successor).collect();
            assert_eq!(all.len(), 3, "each attempt goes to another candidate");
            assert_eq!(successor(3), successor(0));
        }
        assert_eq!(counts.len(), 3);
        assert!(!counts.contains_key(&id(1)));
        assert!(
            counts.values().all(|count| (700..1_300).contains(count)),
            "{counts:?}"
        );
    }
}
