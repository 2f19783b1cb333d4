//! Commits, claims, releases and deregistrations of the same raids.

use raidhall::store::{Accounts, CommitOutcome, Epoch, InstanceId, Leases, Ledger, Ownership};

use super::scheduler::{Interleavings, OrderRun};
use super::{EXPIRED, claim, claim_and_load, create_owned_raid, read_events};
use crate::conformance::{commit, create_raid, player_totals};
use crate::history::{History, completed_task, player, said};

/// Claims and loads a raid while its owner commits under the older epoch. Returns the outcome of
/// the commit, and whether the claim succeeded.
async fn check_claim_beside_commit(
    run: &mut OrderRun<'_>,
    history: &mut History,
    claimer: InstanceId,
    deregister: Option<InstanceId>,
) -> (CommitOutcome, bool) {
    let raid = history.raid;
    let append = history.append([said("late")]);
    let committing = run.call(
        "commit",
        |store| async move { commit(&*store, &append).await },
    );
    let claiming = run.call("claim", move |store| async move {
        claim_and_load(&*store, raid, claimer).await
    });
    let deregistering = deregister.map(|owner| {
        run.call("deregister", move |store| async move {
            store.deregister(owner).await
        })
    });
    run.step_through().await;

    let outcome = committing.answer().await;
    let claimed = claiming.answer().await;
    if let Some(deregistering) = deregistering {
        deregistering.answer().await.expect("deregister");
    }
    let events = read_events(run.store(), raid).await;
    assert_eq!(
        outcome == CommitOutcome::Committed,
        events.len() == 3,
        "{outcome:?}"
    );
    let head = run.store().head(raid).await.expect("head").expect("a raid");
    if let Some((epoch, loaded)) = &claimed {
        assert_eq!(
            loaded.head, head,
            "the raid changed after its new owner had loaded it"
        );
        assert_eq!((head.epoch, head.owner), (*epoch, Some(claimer)));
    }
    (outcome, claimed.is_some())
}

#[tokio::test]
async fn no_commit_of_a_dead_owner_lands_after_the_new_owners_load() {
    let mut interleavings = Interleavings::open(2).await;
    let mut fenced = 0;
    while let Some(mut run) = interleavings.next_order().await {
        let (owner, mut history) = create_owned_raid(&mut run).await;
        run.set_lease(&owner, EXPIRED).await;
        let successor = run.add_instance().await;
        let (outcome, claimed) =
            check_claim_beside_commit(&mut run, &mut history, successor.id, None).await;
        assert!(claimed);
        fenced += u32::from(outcome != CommitOutcome::Committed);
    }
    assert!(fenced > 0);
}

#[tokio::test]
async fn no_commit_lands_after_its_owner_has_reloaded_the_raid() {
    let mut interleavings = Interleavings::open(2).await;
    let mut fenced = 0;
    while let Some(mut run) = interleavings.next_order().await {
        let (owner, mut history) = create_owned_raid(&mut run).await;
        let (outcome, claimed) =
            check_claim_beside_commit(&mut run, &mut history, owner.id, None).await;
        assert!(claimed);
        fenced += u32::from(outcome != CommitOutcome::Committed);
    }
    assert!(fenced > 0);
}

#[tokio::test]
async fn a_deregistration_takes_no_raid_from_the_instance_that_claimed_it() {
    let mut interleavings = Interleavings::open(3).await;
    let mut claims = 0;
    while let Some(mut run) = interleavings.next_order().await {
        let (owner, mut history) = create_owned_raid(&mut run).await;
        run.set_lease(&owner, EXPIRED).await;
        let successor = run.add_instance().await;
        let (_, claimed) =
            check_claim_beside_commit(&mut run, &mut history, successor.id, Some(owner.id)).await;
        claims += u32::from(claimed);
    }
    assert!(claims > 0);
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
        let reclaiming = run.call("reclaim", move |store| async move {
            claim(&*store, raid, owner).await
        });
        let claiming = run.call("claim", move |store| async move {
            claim(&*store, raid, other).await
        });
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

#[tokio::test]
async fn one_of_two_claims_takes_the_raid_of_a_dead_owner() {
    let mut interleavings = Interleavings::open(2).await;
    let mut winners = [0, 0];
    while let Some(mut run) = interleavings.next_order().await {
        let (owner, history) = create_owned_raid(&mut run).await;
        let raid = history.raid;
        run.set_lease(&owner, EXPIRED).await;
        let rivals = [run.add_instance().await.id, run.add_instance().await.id];
        let claims = rivals.map(|rival| {
            run.call("claim", move |store| async move {
                claim(&*store, raid, rival).await
            })
        });
        run.step_through().await;

        let [first, second] = claims;
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
        assert_eq!(player_totals(run.store(), ada).await, (40, 1, 0));
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
