//! Renewals and ends of leases beside claims of the owner's raids.

use raidhall::store::{InstanceRecord, Leases, Ownership, Renewal};
use raidhall_protocol::UnixMillis;

use super::scheduler::{Interleavings, OrderRun, SessionCall};
use super::{
    ENDED_LONG_AGO, JUST_EXPIRED, call_claim, call_rival_claims, create_owned_raid,
    create_raid_of_dead_owner,
};
use crate::conformance::LONG_TTL;

/// Renews a lease; after a gap the instance asks which raids it still owns.
fn renew(run: &mut OrderRun<'_>, owner: &InstanceRecord) -> SessionCall<Renewal> {
    let owner = owner.clone();
    run.call("renew", |store| async move {
        let renewal = store.renew(&owner, LONG_TTL).await.expect("renew");
        store.owned_raids(owner.id).await.expect("owned raids");
        renewal
    })
}

async fn check_claims_beside_renewal(lease_end: &str) {
    let mut interleavings = Interleavings::open(3).await;
    let mut claims = 0;
    while let Some(mut run) = interleavings.next_order().await {
        let (owner, history) = create_raid_of_dead_owner(&mut run, lease_end).await;
        let renewing = renew(&mut run, &owner);
        let (_, claiming) = call_rival_claims(&mut run, history.raid).await;
        run.step_through().await;

        let ended_late = claiming
            .each_ref()
            .map(|call| run.ended_before(&renewing, call));
        assert!(renewing.answer().await.lapsed);
        let mut taken = 0;
        for (call, ended_late) in claiming.into_iter().zip(ended_late) {
            if call.answer().await.is_some() {
                taken += 1;
                assert!(!ended_late, "the owner had renewed its lease");
            }
        }
        assert!(taken < 2, "both claims took the raid");
        claims += taken;
    }
    assert!(claims > 0);
}

#[tokio::test]
async fn no_claim_takes_a_raid_after_its_owner_has_renewed() {
    check_claims_beside_renewal(ENDED_LONG_AGO).await;
}

#[tokio::test]
async fn no_claim_that_ends_a_lease_outlasts_the_owners_renewal() {
    check_claims_beside_renewal(JUST_EXPIRED).await;
}

/// The database's clock was ahead when the lease was written. A claim takes the raid only if the
/// lease was ended, and then the owner, who lives after all, learns of the gap.
#[tokio::test]
async fn no_claim_after_a_stale_leases_end_outlasts_the_owners_renewal() {
    let mut interleavings = Interleavings::open(3).await;
    let mut claims = 0;
    while let Some(mut run) = interleavings.next_order().await {
        let (owner, history) = create_owned_raid(&mut run).await;
        run.set_lease(&owner, "'2100-01-01Z'").await;
        let until = lease_until(&mut run, &owner).await;
        let successor = run.add_instance().await.id;
        let owner_id = owner.id;
        let ending = run.call("end stale lease", move |store| async move {
            store.end_stale_lease(owner_id, until).await
        });
        let renewing = renew(&mut run, &owner);
        let claiming = call_claim(&mut run, "claim", history.raid, successor);
        run.step_through().await;

        let ended_late = run.ended_before(&renewing, &claiming);
        ending.answer().await.expect("end");
        let renewal = renewing.answer().await;
        if claiming.answer().await.is_some() {
            claims += 1;
            assert!(renewal.lapsed, "the owner does not know of the gap");
            assert!(!ended_late, "the owner had renewed its lease");
        }
        // The renewed lease was not ended.
        lease_until(&mut run, &owner).await;
    }
    assert!(claims > 0);
}

/// Returns when an instance's lease ends, as other instances see it.
async fn lease_until(run: &mut OrderRun<'_>, owner: &InstanceRecord) -> UnixMillis {
    let watcher = run.add_instance().await;
    let renewal = run.store().renew(&watcher, LONG_TTL).await.expect("renew");
    let peer = renewal.peers.iter().find(|peer| peer.id == owner.id);
    peer.expect("a live owner").lease_until
}
