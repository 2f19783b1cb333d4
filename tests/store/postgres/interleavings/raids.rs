//! Commits, claims, releases and deregistrations of the same raids.

use raidhall::store::{Accounts, CommitOutcome, Epoch, InstanceId, Leases, Ledger, Ownership};

use super::scheduler::{Interleavings, OrderRun};
use super::{
    ENDED_LONG_AGO, JUST_EXPIRED, call_claim, call_rival_claims, claim_and_load, create_owned_raid,
    create_raid_of_dead_owner, read_events,
};
use crate::conformance::{commit, create_raid, ledger_totals};
use crate::history::{History, completed_task, player, said};

/// Why a raid is claimed while its owner commits to it.
#[derive(Clone, Copy, PartialEq)]
enum ClaimCause {
    Reload,
    ExpiredLease,
    Deregistration,
}

/// Claims and loads a raid while its owner commits under the older epoch, in every order. A commit
/// lands before the load or not at all.
async fn check_claim_beside_commit(cause: ClaimCause) {
    let deregisters = cause == ClaimCause::Deregistration;
    let mut interleavings = Interleavings::open(2 + usize::from(deregisters)).await;
    let mut claims = 0;
    let mut fenced = 0;
    while let Some(mut run) = interleavings.next_order().await {
        let (owner, mut history) = match cause {
            ClaimCause::Reload => create_owned_raid(&mut run).await,
            _ => create_raid_of_dead_owner(&mut run, JUST_EXPIRED).await,
        };
        let claimer = match cause {
            ClaimCause::Reload => owner.id,
            _ => run.add_instance().await.id,
        };
        let raid = history.raid;
        let append = history.append([said("late")]);
        let committing = run.call(
            "commit",
            |store| async move { commit(&*store, &append).await },
        );
        let claiming = run.call("claim", move |store| async move {
            claim_and_load(&*store, raid, claimer).await
        });
        let deregistering = deregisters.then(|| {
            run.call("deregister", move |store| async move {
                store.deregister(owner.id).await
            })
        });
        run.step_through().await;

        let outcome = committing.answer().await;
        let claimed = claiming.answer().await;
        if let Some(deregistering) = deregistering {
            deregistering.answer().await.expect("deregister");
        }
        let events = read_events(run.store(), raid).await.len();
        let lands = outcome == CommitOutcome::Committed;
        assert_eq!(lands, events == 3, "{outcome:?}");
        let head = run.store().head(raid).await.expect("head").expect("a raid");
        assert!(claimed.is_some() || deregisters);
        if let Some((epoch, loaded)) = claimed {
            assert_eq!(
                loaded.head, head,
                "the raid changed after its new owner had loaded it"
            );
            assert_eq!((head.epoch, head.owner), (epoch, Some(claimer)));
            claims += 1;
        }
        fenced += u32::from(!lands);
    }
    assert!(claims > 0 && fenced > 0, "{claims}, {fenced}");
}

#[tokio::test]
async fn no_commit_of_a_dead_owner_lands_after_the_new_owners_load() {
    check_claim_beside_commit(ClaimCause::ExpiredLease).await;
}

#[tokio::test]
async fn no_commit_lands_after_its_owner_has_reloaded_the_raid() {
    check_claim_beside_commit(ClaimCause::Reload).await;
}

#[tokio::test]
async fn a_deregistration_takes_no_raid_from_the_instance_that_claimed_it() {
    check_claim_beside_commit(ClaimCause::Deregistration).await;
}

#[tokio::test]
async fn a_release_under_an_older_epoch_never_undoes_a_claim() {
    let mut interleavings = Interleavings::open(3).await;
    while let Some(mut run) = interleavings.next_order().await {
        let (owner, history) = create_owned_raid(&mut run).await;
        let (raid, owner) = (history.raid, owner.id);
        let other = run.add_instance().await.id;
        let releasing = run.call("release", move |store| async move {
            store.release(&[(raid, Epoch(1))], owner).await
        });
        let reclaiming = call_claim(&mut run, "reclaim", raid, owner);
        let claiming = call_claim(&mut run, "claim", raid, other);
        run.step_through().await;

        releasing.answer().await.expect("release");
        let claims = [
            (Some(owner), reclaiming.answer().await),
            (Some(other), claiming.answer().await),
        ];
        let head = run.store().head(raid).await.expect("head").expect("a raid");
        let mut owners: Vec<_> = claims.iter().filter(|(_, epoch)| epoch.is_some()).collect();
        owners.sort_by_key(|(_, epoch)| *epoch);
        let epochs: Vec<_> = owners
            .iter()
            .map(|(_, epoch)| epoch.expect("a claim").0)
            .collect();
        assert!((2..=head.epoch.0).eq(epochs), "{claims:?}, {head:?}");
        let latest = owners.last().and_then(|(owner, _)| *owner);
        assert_eq!(head.owner, latest, "{claims:?}");
    }
}

async fn check_rival_claims(lease_end: &str) {
    let mut interleavings = Interleavings::open(2).await;
    let mut winners = [0, 0];
    while let Some(mut run) = interleavings.next_order().await {
        let (_, history) = create_raid_of_dead_owner(&mut run, lease_end).await;
        let raid = history.raid;
        let (rivals, [first, second]) = call_rival_claims(&mut run, raid).await;
        run.step_through().await;

        let claims = [first.answer().await, second.answer().await];
        let winner = usize::from(claims[0].is_none());
        winners[winner] += 1;
        assert_eq!(claims.iter().flatten().collect::<Vec<_>>(), [&Epoch(2)]);
        let head = run.store().head(raid).await.expect("head").expect("a raid");
        assert_eq!((head.owner, head.epoch), (Some(rivals[winner]), Epoch(2)));
    }
    assert!(winners.iter().all(|wins| *wins > 0), "{winners:?}");
}

#[tokio::test]
async fn one_of_two_claims_takes_the_raid_of_a_dead_owner() {
    check_rival_claims(ENDED_LONG_AGO).await;
}

#[tokio::test]
async fn one_of_two_claims_takes_the_raid_of_an_expired_owner() {
    check_rival_claims(JUST_EXPIRED).await;
}

#[tokio::test]
async fn an_append_sent_twice_at_once_is_credited_once() {
    let mut interleavings = Interleavings::open(2).await;
    interleavings.gates().add("players", "UPDATE").await;
    while let Some(mut run) = interleavings.next_order().await {
        let (_, mut history) = create_owned_raid(&mut run).await;
        let ada = run.store().create_player("Ada").await.expect("create").id;
        let append = history.append([completed_task(ada, 40)]);
        let sendings = ["first", "second"].map(|name| {
            let append = append.clone();
            run.call(name, |store| async move { commit(&*store, &append).await })
        });
        run.step_through().await;

        let [first, second] = sendings;
        let outcomes = [first.answer().await, second.answer().await];
        assert!(outcomes.contains(&CommitOutcome::Committed), "{outcomes:?}");
        assert!(!outcomes.contains(&CommitOutcome::Fenced), "{outcomes:?}");
        assert_eq!(read_events(run.store(), history.raid).await.len(), 3);
        assert_eq!(ledger_totals(run.store(), ada).await, (40, 1, 0));
    }
}

/// Creates two raids, the one with the higher id first, and returns both.
async fn create_two_raids(run: &mut OrderRun<'_>) -> (InstanceId, [History; 2]) {
    let owner = run.add_instance().await;
    let lower = run.next_raid();
    let higher = run.next_raid();
    let higher = create_raid(run.store(), higher, &owner, player(1)).await;
    let lower = create_raid(run.store(), lower, &owner, player(1)).await;
    (owner.id, [lower, higher])
}

#[tokio::test]
async fn a_commit_and_a_deregistration_of_the_same_raids_do_not_deadlock() {
    let mut interleavings = Interleavings::open(2).await;
    interleavings.gates().add_for_each_raid().await;
    while let Some(mut run) = interleavings.next_order().await {
        let (owner, mut histories) = create_two_raids(&mut run).await;
        let raids = histories.each_ref().map(|history| history.raid);
        let batch = histories
            .each_mut()
            .map(|history| history.append([said("bye")]));
        let committing = run.call("commit", |store| async move { store.commit(&batch).await });
        let deregistering = run.call("deregister", move |store| async move {
            store.deregister(owner).await
        });
        run.step_through().await;

        let outcomes = committing.answer().await.expect("commit");
        deregistering.answer().await.expect("deregister");
        for (raid, outcome) in raids.iter().zip(outcomes) {
            let events = read_events(run.store(), *raid).await;
            assert_eq!(outcome == CommitOutcome::Committed, events.len() == 3);
        }
        for (_, head) in run.store().heads(&raids).await.expect("heads") {
            assert_eq!(head.owner, None);
        }
    }
}

#[tokio::test]
async fn a_commit_and_a_release_of_the_same_raids_do_not_deadlock() {
    let mut interleavings = Interleavings::open(2).await;
    interleavings.gates().add_for_each_raid().await;
    while let Some(mut run) = interleavings.next_order().await {
        let (owner, mut histories) = create_two_raids(&mut run).await;
        let raids = histories.each_ref().map(|history| history.raid);
        let batch = histories
            .each_mut()
            .map(|history| history.append([said("bye")]));
        let committing = run.call("commit", |store| async move { store.commit(&batch).await });
        let released = [(raids[1], Epoch(1)), (raids[0], Epoch(1))];
        let releasing = run.call("release", move |store| async move {
            store.release(&released, owner).await
        });
        run.step_through().await;

        let ended_late = run.ended_before(&releasing, &committing);
        let outcomes = committing.answer().await.expect("commit");
        releasing.answer().await.expect("release");
        let lands = outcomes.contains(&CommitOutcome::Committed);
        assert!(!(lands && ended_late), "a commit to a released raid");
        for (_, head) in run.store().heads(&raids).await.expect("heads") {
            assert_eq!((head.owner, head.epoch), (None, Epoch(1)));
        }
    }
}
