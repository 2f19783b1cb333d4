//! Checks of instances and their leases.

use raidhall::store::{ClaimOutcome, InstanceId, PeerInstance};

use super::*;
use crate::history::player;

pub async fn a_lease_renewal_reports_the_database_time(store: &dyn Store) {
    let instance = instance();
    let first = store
        .register(&instance, LONG_TTL, LONG_TTL)
        .await
        .expect("register");
    assert!(
        first.now > UnixMillis(1_600_000_000_000),
        "milliseconds since 1970: {}",
        first.now
    );
    wait_until(store, first.now).await;
    let second = store.renew(&instance, LONG_TTL).await.expect("renew");
    assert!(second.now > first.now);
}

pub async fn the_lineage_is_the_same_at_registration_and_renewal(store: &dyn Store) {
    let instance = instance();
    let first = store
        .register(&instance, LONG_TTL, LONG_TTL)
        .await
        .expect("register");
    let second = store.renew(&instance, LONG_TTL).await.expect("renew");
    assert!(!first.lineage.is_empty());
    assert_eq!(first.lineage, second.lineage);
}

pub async fn two_instances_are_registered_side_by_side(store: &dyn Store) {
    let first = register_instance(store).await;
    let second = register_instance(store).await;
    let here = create_raid(store, 1, &first, player(1)).await;
    let there = create_raid(store, 2, &second, player(1)).await;
    let held = |by: &InstanceRecord| {
        [ClaimOutcome::Held {
            owner: by.id,
            ws_url: by.ws_url.clone(),
        }]
    };
    assert_eq!(
        store.claim(&[there.raid], first.id).await.expect("claim"),
        held(&second)
    );
    assert_eq!(
        store.claim(&[here.raid], second.id).await.expect("claim"),
        held(&first)
    );
}

pub async fn reserved_ids_start_at_one_and_never_overlap(store: &dyn Store) {
    assert_eq!(store.reserve_raid_ids(3).await.expect("reserve"), 1..4);
    let (one, other) = tokio::join!(store.reserve_raid_ids(10), store.reserve_raid_ids(10));
    let one = one.expect("reserve");
    let other = other.expect("reserve");
    assert_eq!((one.end - one.start, other.end - other.start), (10, 10));
    assert!(one.start >= 4 && other.start >= 4);
    assert!(
        one.end <= other.start || other.end <= one.start,
        "{one:?} and {other:?}"
    );
}

pub async fn deregistering_releases_every_raid(store: &dyn Store) {
    let leaving = register_instance(store).await;
    let staying = register_instance(store).await;
    let mut history = create_raid(store, 1, &leaving, player(1)).await;
    let kept = create_raid(store, 2, &staying, player(1)).await;

    store.deregister(leaving.id).await.expect("deregister");

    let head = store
        .head(history.raid)
        .await
        .expect("head")
        .expect("a raid");
    assert_eq!(head.owner, None);
    assert_eq!(head.epoch, history.epoch);
    assert_eq!(
        commit(store, &history.append([crate::history::said("late")])).await,
        CommitOutcome::Fenced
    );
    assert!(matches!(
        store
            .claim(&[history.raid], staying.id)
            .await
            .expect("claim")[..],
        [ClaimOutcome::Acquired(_)]
    ));
    assert_eq!(
        store
            .head(kept.raid)
            .await
            .expect("head")
            .expect("a raid")
            .owner,
        Some(staying.id)
    );
    store
        .deregister(leaving.id)
        .await
        .expect("deregister twice");
}

/// Renews a lease and returns the peers that the renewal lists.
async fn renew_and_list_peers(store: &dyn Store, of: &InstanceRecord) -> Vec<PeerInstance> {
    store.renew(of, LONG_TTL).await.expect("renew").peers
}

fn ids(peers: &[PeerInstance]) -> Vec<InstanceId> {
    peers.iter().map(|peer| peer.id).collect()
}

pub async fn live_peers_are_listed_and_a_deregistered_one_is_not(store: &dyn Store) {
    let first = register_instance(store).await;
    let before = store.renew(&first, LONG_TTL).await.expect("renew").now;
    let second = instance();
    let renewal = store
        .register(&second, LONG_TTL, LONG_TTL)
        .await
        .expect("register");
    assert_eq!(
        ids(&renewal.peers),
        [first.id],
        "registering lists peers, too"
    );
    let third = register_instance(store).await;

    let seen = renew_and_list_peers(store, &first).await;
    assert_eq!(ids(&seen), [second.id, third.id]);
    assert_eq!(seen[0].ws_url, second.ws_url);
    assert!(!seen[0].draining);
    let expected = [before, renewal.now].map(|now| now.plus(LONG_TTL.as_millis() as i64));
    assert!(
        expected[0] <= seen[0].lease_until && seen[0].lease_until <= expected[1],
        "{seen:?}"
    );

    store.deregister(second.id).await.expect("deregister");
    assert_eq!(ids(&renew_and_list_peers(store, &first).await), [third.id]);
}

pub async fn a_peer_whose_lease_has_run_out_is_gone_until_it_renews(store: &dyn Store) {
    let watcher = register_instance(store).await;
    let sleeper = register_instance(store).await;
    expire_lease(store, &sleeper).await;
    assert!(!ids(&renew_and_list_peers(store, &watcher).await).contains(&sleeper.id));
    assert!(ids(&renew_and_list_peers(store, &sleeper).await).contains(&watcher.id));
    assert!(ids(&renew_and_list_peers(store, &watcher).await).contains(&sleeper.id));
}

pub async fn a_stale_lease_is_ended_unless_it_was_renewed(store: &dyn Store) {
    let watcher = register_instance(store).await;
    let dead = register_instance(store).await;
    let raid = create_raid(store, 1, &dead, create_player(store, "Ada").await)
        .await
        .raid;
    let seen = renew_and_list_peers(store, &watcher).await.remove(0);
    assert_eq!((seen.id, seen.ttl), (dead.id, LONG_TTL));
    let earlier = seen.lease_until.plus(-1);
    let end = async |until| {
        let end = store.end_stale_lease(dead.id, until).await;
        end.expect("end a stale lease");
    };
    end(earlier).await;
    assert_eq!(
        ids(&renew_and_list_peers(store, &watcher).await),
        [dead.id],
        "it was renewed since"
    );
    end(seen.lease_until).await;
    assert_eq!(renew_and_list_peers(store, &watcher).await, []);
    let claims = store.claim(&[raid], watcher.id).await.expect("claim");
    assert!(
        matches!(claims[..], [ClaimOutcome::Acquired(_)]),
        "{claims:?}"
    );
    let renewal = store.renew(&dead, LONG_TTL).await.expect("renew");
    assert!(
        renewal.lapsed || store.has_exclusive_lock(),
        "an instance that was not dead learns of it"
    );
}

pub async fn a_draining_peer_is_listed_as_draining(store: &dyn Store) {
    let watcher = register_instance(store).await;
    let leaving = register_instance(store).await;
    let drains = async || {
        renew_and_list_peers(store, &watcher)
            .await
            .iter()
            .any(|peer| peer.id == leaving.id && peer.draining)
    };
    assert!(!drains().await);
    store
        .renew(
            &InstanceRecord {
                draining: true,
                ..leaving.clone()
            },
            LONG_TTL,
        )
        .await
        .expect("renew");
    assert!(drains().await);
    let late = instance();
    store
        .register(
            &InstanceRecord {
                draining: true,
                ..late.clone()
            },
            LONG_TTL,
            LONG_TTL,
        )
        .await
        .expect("register");
    assert!(
        renew_and_list_peers(store, &watcher)
            .await
            .iter()
            .any(|peer| peer.id == late.id && peer.draining)
    );
    store.renew(&leaving, LONG_TTL).await.expect("renew");
    assert!(!drains().await);
}
