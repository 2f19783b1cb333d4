//! The other instances, as far as their leases tell: who lives, and where clients reach them.
//!
//! The database is the judge. Each renewal of our own lease brings the list of all that live; between two of them a
//! lease that was not seen to be renewed runs out here as it does there. But a database that has fallen silent to us has
//! perhaps fallen silent to all: then nobody's lease runs out here before it is heard again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use raidhall_protocol::{RaidId, UnixMillis};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::store::{InstanceId, PeerInstance};

/// How much later than in the database a lease runs out here: what was learned is some milliseconds old.
const EXPIRY_DELAY: Duration = Duration::from_millis(50);

/// Everybody else. Cheap to clone.
#[derive(Clone)]
pub struct Membership(Arc<MembershipInner>);

struct MembershipInner {
    ttl: Duration,
    /// When the database was last heard.
    updated_at: RwLock<Instant>,
    peers: RwLock<HashMap<InstanceId, KnownPeer>>,
    /// Those of them whom the latest list does not name, and who have time to come back.
    unlisted: Mutex<HashSet<InstanceId>>,
    /// Moves whenever somebody has come, gone, or begun to drain.
    changes: watch::Sender<u64>,
    /// Moves whenever anything was learned.
    updates: watch::Sender<u64>,
}

/// What is known of an instance.
#[derive(Clone)]
struct KnownPeer {
    ws_url: String,
    draining: bool,
    /// When its lease runs out here unless it is seen to be renewed: by our own clock, for the database's may be set.
    expires_at: Instant,
}

impl Membership {
    /// Nobody yet. `ttl` is how long a lease lasts.
    pub fn new(ttl: Duration) -> Membership {
        let (changes, learned) = (watch::Sender::new(0), watch::Sender::new(0));
        let heard = RwLock::new(Instant::now());
        Membership(Arc::new(MembershipInner {
            ttl,
            updated_at: heard,
            peers: RwLock::default(),
            unlisted: Mutex::default(),
            changes,
            updates: learned,
        }))
    }

    /// Takes in who lives as of `now`. Whoever was away itself (`lapsed`) judges nobody by a single look: those who
    /// have not renewed either get the length of a lease to do so.
    pub fn update(&self, now: UnixMillis, living: Vec<PeerInstance>, lapsed: bool) {
        let (before, moment) = (self.drain_statuses(), Instant::now());
        *self.0.updated_at.write() = moment;
        {
            let mut known = self.0.peers.write();
            let mut next: HashMap<_, _> = living
                .into_iter()
                .map(
                    |PeerInstance {
                         id,
                         ws_url,
                         draining,
                         lease_until,
                     }| {
                        let left = u64::try_from(lease_until.since(now)).unwrap_or(0);
                        (
                            id,
                            KnownPeer {
                                ws_url,
                                draining,
                                expires_at: moment + Duration::from_millis(left),
                            },
                        )
                    },
                )
                .collect();
            let mut reprieved = self.0.unlisted.lock();
            let before = std::mem::take(&mut *reprieved);
            let missing: Vec<_> = known
                .drain()
                .filter(|(id, _)| !next.contains_key(id))
                .collect();
            for (id, peer) in missing {
                let until = if lapsed {
                    moment + self.0.ttl
                } else {
                    peer.expires_at
                };
                if lapsed || (before.contains(&id) && until > moment) {
                    reprieved.insert(id);
                    next.insert(
                        id,
                        KnownPeer {
                            expires_at: until,
                            ..peer
                        },
                    );
                }
            }
            *known = next;
        }
        self.notify_changes(before);
    }

    /// The store named an instance as a living owner, which may be younger than the latest list.
    pub fn insert_owner(&self, id: InstanceId, ws_url: &str) {
        let before = self.drain_statuses();
        {
            let mut known = self.0.peers.write();
            let (ws_url, until) = (ws_url.to_owned(), Instant::now() + self.0.ttl);
            known.entry(id).or_insert(KnownPeer {
                ws_url,
                draining: false,
                expires_at: until,
            });
        }
        self.notify_changes(before);
    }

    /// Whether an instance's lease lives.
    pub fn is_live(&self, id: InstanceId) -> bool {
        self.0.peers.read().contains_key(&id)
    }

    /// Where clients reach a living instance.
    pub fn ws_url(&self, id: InstanceId) -> Option<String> {
        self.0.peers.read().get(&id).map(|peer| peer.ws_url.clone())
    }

    /// Whether somebody is there who may take raids over.
    pub fn has_successor_candidate(&self) -> bool {
        self.0.peers.read().values().any(|peer| !peer.draining)
    }

    /// Whether an instance lives and does not drain.
    pub fn is_successor_candidate(&self, id: InstanceId) -> bool {
        self.0
            .peers
            .read()
            .get(&id)
            .is_some_and(|peer| !peer.draining)
    }

    /// An instance that may take a raid over: raids are spread over those that do not drain (rendezvous hashing,
    /// Thaler and Ravishankar 1998).
    pub fn successor_for(&self, raid: RaidId) -> Option<InstanceId> {
        let known = self.0.peers.read();
        let fit = known
            .iter()
            .filter(|(_, peer)| !peer.draining)
            .map(|(id, _)| *id);
        fit.max_by_key(|id| rendezvous_weight(raid, *id))
    }

    /// Moves whenever somebody has come, gone, or begun to drain.
    pub fn watch_changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Moves whenever anything was learned.
    pub fn watch_updates(&self) -> watch::Receiver<u64> {
        self.0.updates.subscribe()
    }

    /// Forgets those whose lease runs out, until dropped. `judges` says whether we hold a lease of our own: without one
    /// we know nothing of others.
    pub async fn run(self, judges: impl Fn() -> bool) {
        let mut learned = self.0.updates.subscribe();
        loop {
            learned.mark_unchanged();
            let next = self
                .0
                .peers
                .read()
                .values()
                .map(|peer| peer.expires_at)
                .min();
            let over = async {
                match next {
                    Some(at) => sleep_until(at + EXPIRY_DELAY).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = learned.changed() => if changed.is_err() { return },
                () = over => {
                    if judges() && self.is_database_responsive() {
                        self.remove_expired();
                    } else if learned.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether the database was heard within half the time that a lease lasts.
    fn is_database_responsive(&self) -> bool {
        self.0.updated_at.read().elapsed() < self.0.ttl / 2
    }

    fn remove_expired(&self) {
        let (before, now) = (self.drain_statuses(), Instant::now());
        self.0
            .peers
            .write()
            .retain(|_, peer| peer.expires_at + EXPIRY_DELAY > now);
        self.notify_changes(before);
    }

    /// Who is there, and who of them drains.
    fn drain_statuses(&self) -> Vec<(InstanceId, bool)> {
        let known = self.0.peers.read();
        let mut standing: Vec<_> = known
            .iter()
            .map(|(id, peer)| (*id, peer.draining))
            .collect();
        standing.sort_unstable();
        standing
    }

    fn notify_changes(&self, before: Vec<(InstanceId, bool)>) {
        self.0.updates.send_modify(|count| *count += 1);
        if before != self.drain_statuses() {
            self.0.changes.send_modify(|count| *count += 1);
        }
    }
}

/// A number for a pair, as good as random and the same everywhere (the finaliser of SplitMix64, Steele et al. 2014).
fn rendezvous_weight(raid: RaidId, instance: InstanceId) -> u64 {
    let (high, low) = instance.0.as_u64_pair();
    let mut mixed = raid.get() ^ high.rotate_left(31) ^ low;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
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
        peers.update(START, living.clone(), false);
        changes.changed().await.expect("somebody came");
        advance(Duration::from_secs(2)).await;
        peers.update(START.plus(2_000), living, false);
        let watching = peers.clone().run(|| true);
        tokio::select! { () = watching => unreachable!(), changed = changes.changed() => changed.expect("gone") }
        let after = began.elapsed();
        assert!(
            after >= Duration::from_millis(2_500) && after < Duration::from_millis(2_600),
            "{after:?}"
        );
        assert!(!peers.is_live(id(1)) && peers.is_live(id(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn no_instance_is_declared_dead_while_the_database_is_silent() {
        let peers = peers();
        peers.update(START, vec![peer(1, START.plus(2_000))], false);
        let watching = peers.clone().run(|| true);
        let silence = sleep(Duration::from_secs(30));
        tokio::select! { () = watching => unreachable!(), () = silence => {} }
        assert!(peers.is_live(id(1)));
        peers.update(START.plus(30_000), vec![], false);
        assert!(!peers.is_live(id(1)), "the database has spoken");
    }

    #[tokio::test(start_paused = true)]
    async fn a_resumed_instance_grants_the_others_a_full_lease() {
        let peers = peers();
        peers.update(START, vec![peer(1, START.plus(3_000))], false);
        let later = START.plus(10_000);
        peers.update(later, vec![], true);
        assert!(
            peers.is_live(id(1)),
            "it may have been away for the same reason"
        );
        // Held up itself, it looks again at once.
        advance(Duration::from_millis(10)).await;
        peers.update(later.plus(10), vec![], false);
        assert!(
            peers.is_live(id(1)),
            "it may need as long as its lease lasts"
        );
        advance(Duration::from_millis(2_990)).await;
        peers.update(later.plus(3_000), vec![], false);
        assert!(!peers.is_live(id(1)));
        peers.update(later.plus(3_100), vec![peer(1, later.plus(6_000))], false);
        peers.update(later.plus(3_200), vec![], false);
        assert!(
            !peers.is_live(id(1)),
            "whoever says goodbye is gone at once"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_clock_set_back_declares_no_instance_dead() {
        let peers = peers();
        peers.update(START, vec![peer(1, START.plus(3_000))], false);
        let watching = peers.clone().run(|| true);
        let set_back = async {
            for second in 0..10 {
                sleep(Duration::from_secs(1)).await;
                let now = START.plus(1_000 * second - 60_000);
                peers.update(now, vec![peer(1, now.plus(3_000))], false);
                assert!(peers.is_live(id(1)));
            }
        };
        tokio::select! { () = watching => unreachable!(), () = set_back => {} }
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
        peers.update(START, living, false);
        let mut counts = HashMap::new();
        for raid in 1..=3_000_u64 {
            let heir = peers
                .successor_for(RaidId::try_from(raid).expect("an id"))
                .expect("one is fit");
            *counts.entry(heir).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 3);
        assert!(!counts.contains_key(&id(1)));
        assert!(
            counts.values().all(|count| (700..1_300).contains(count)),
            "{counts:?}"
        );
    }
}
