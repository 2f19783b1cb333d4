//! Checks of claims, releases, and raids that wait for an owner.

use raidhall::store::{ClaimOutcome, Epoch, RaidHead};
use raidhall_protocol::{RaidId, Seq};

use super::*;
use crate::history::{failed, instance, player, said, started};
use crate::wait::wait_for;

async fn claim(store: &dyn Store, raid: RaidId, by: &InstanceRecord) -> ClaimOutcome {
    let [claim] = &claim_all(store, &[raid], by).await[..] else {
        panic!("one answer")
    };
    claim.clone()
}

async fn claim_all(store: &dyn Store, raids: &[RaidId], by: &InstanceRecord) -> Vec<ClaimOutcome> {
    store.claim(raids, by.id).await.expect("claim")
}

fn expected_held(by: &InstanceRecord) -> ClaimOutcome {
    ClaimOutcome::Held {
        owner: by.id,
        ws_url: by.ws_url.clone(),
    }
}

async fn read_head(store: &dyn Store, raid: RaidId) -> RaidHead {
    store.head(raid).await.expect("read head").expect("a raid")
}

pub async fn a_raid_that_does_not_exist_is_missing(store: &dyn Store) {
    let instance = register_instance(store).await;
    assert_eq!(
        claim(store, raid(7), &instance).await,
        ClaimOutcome::Missing
    );
    assert_eq!(store.head(raid(7)).await.expect("read head"), None);
}

pub async fn a_raid_of_a_living_instance_is_held(store: &dyn Store) {
    let owner = register_instance(store).await;
    let rival = register_instance(store).await;
    let history = create_raid(store, 1, &owner, player(1)).await;
    assert_eq!(
        claim(store, history.raid, &rival).await,
        expected_held(&owner)
    );
    assert_eq!(
        read_head(store, history.raid).await,
        RaidHead {
            owner: Some(owner.id),
            epoch: Epoch(1),
            last_seq: Seq(2)
        }
    );
}

pub async fn a_raid_whose_owners_lease_has_run_out_can_be_claimed(store: &dyn Store) {
    let owner = register_instance(store).await;
    let rival = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, player(1)).await;
    expire_lease(store, &owner).await;

    assert_eq!(
        claim(store, history.raid, &rival).await,
        ClaimOutcome::Acquired(Epoch(2))
    );
    store.renew(&owner, LONG_TTL).await.expect("renew");
    assert_eq!(
        commit(store, &history.append([said("I was asleep")])).await,
        CommitOutcome::Fenced
    );
    assert_eq!(
        claim(store, history.raid, &owner).await,
        expected_held(&rival)
    );
}

pub async fn a_raid_whose_owner_never_registered_can_be_claimed(store: &dyn Store) {
    let claimer = register_instance(store).await;
    let history = create_raid(store, 1, &instance(), player(1)).await;
    assert_eq!(
        claim(store, history.raid, &claimer).await,
        ClaimOutcome::Acquired(Epoch(2))
    );
}

pub async fn each_claim_is_a_new_epoch(store: &dyn Store) {
    let one = register_instance(store).await;
    let other = register_instance(store).await;
    let history = create_raid(store, 1, &one, player(1)).await;
    for epoch in 2..6 {
        store
            .release(&[(history.raid, Epoch(epoch - 1))], one.id)
            .await
            .expect("release");
        store
            .release(&[(history.raid, Epoch(epoch - 1))], other.id)
            .await
            .expect("release");
        let claimer = if epoch % 2 == 0 { &other } else { &one };
        assert_eq!(
            claim(store, history.raid, claimer).await,
            ClaimOutcome::Acquired(Epoch(epoch))
        );
        assert_eq!(read_head(store, history.raid).await.owner, Some(claimer.id));
    }
}

pub async fn an_owner_can_claim_its_own_raid_again(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, player(1)).await;
    let in_flight = history.append([said("sent under the first claim")]);

    assert_eq!(
        claim(store, history.raid, &owner).await,
        ClaimOutcome::Acquired(Epoch(2))
    );
    assert_eq!(commit(store, &in_flight).await, CommitOutcome::Fenced);
    assert_eq!(read_head(store, history.raid).await.last_seq, Seq(2));
}

pub async fn a_released_raid_has_no_owner(store: &dyn Store) {
    let owner = register_instance(store).await;
    let next = register_instance(store).await;
    let one = create_raid(store, 1, &owner, player(1)).await;
    let other = create_raid(store, 2, &owner, player(1)).await;
    store
        .release(
            &[(one.raid, one.epoch), (other.raid, other.epoch)],
            owner.id,
        )
        .await
        .expect("release");
    for raid in [one.raid, other.raid] {
        assert_eq!(
            read_head(store, raid).await,
            RaidHead {
                owner: None,
                epoch: Epoch(1),
                last_seq: Seq(2)
            }
        );
        assert_eq!(
            claim(store, raid, &next).await,
            ClaimOutcome::Acquired(Epoch(2))
        );
    }
    store.release(&[], owner.id).await.expect("release nothing");
}

pub async fn a_release_under_an_older_epoch_changes_nothing(store: &dyn Store) {
    let owner = register_instance(store).await;
    let stale = create_raid(store, 1, &owner, player(1)).await;
    let fresh = create_raid(store, 2, &owner, player(1)).await;
    assert_eq!(
        claim(store, stale.raid, &owner).await,
        ClaimOutcome::Acquired(Epoch(2))
    );
    store
        .release(
            &[
                (stale.raid, Epoch(1)),
                (raid(99), Epoch(1)),
                (fresh.raid, Epoch(1)),
            ],
            owner.id,
        )
        .await
        .expect("release");
    assert_eq!(read_head(store, stale.raid).await.owner, Some(owner.id));
    assert_eq!(read_head(store, fresh.raid).await.owner, None);
    store
        .release(&[(stale.raid, Epoch(2))], instance().id)
        .await
        .expect("release another's");
    assert_eq!(read_head(store, stale.raid).await.owner, Some(owner.id));
}

pub async fn one_of_two_rival_claims_wins(store: &dyn Store) {
    let owner = register_instance(store).await;
    let rivals = [
        register_instance(store).await,
        register_instance(store).await,
        register_instance(store).await,
    ];
    let history = create_raid(store, 1, &owner, player(1)).await;
    store
        .release(&[(history.raid, history.epoch)], owner.id)
        .await
        .expect("release");

    let [a, b, c] = &rivals;
    let claims = tokio::join!(
        claim(store, history.raid, a),
        claim(store, history.raid, b),
        claim(store, history.raid, c)
    );
    let claims = [claims.0, claims.1, claims.2];
    let winner = claims
        .iter()
        .position(|claim| *claim == ClaimOutcome::Acquired(Epoch(2)))
        .expect("a winner");
    for (index, claim) in claims
        .into_iter()
        .enumerate()
        .filter(|(index, _)| *index != winner)
    {
        assert_eq!(claim, expected_held(&rivals[winner]), "rival {index}");
    }
}

pub async fn a_claim_whose_caller_gave_up_leaves_the_store_usable(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, player(1)).await;
    let raids = [history.raid];
    cancel_repeatedly(|| store.claim(&raids, owner.id))
        .await
        .expect("claim");
    let ClaimOutcome::Acquired(epoch) = claim(store, history.raid, &owner).await else {
        panic!("not ours")
    };
    assert_eq!(read_head(store, history.raid).await.epoch, epoch);
    history.epoch = epoch;
    assert_eq!(
        commit(store, &history.append([said("here")])).await,
        CommitOutcome::Committed
    );
}

pub async fn each_raid_of_a_claim_has_its_own_outcome_in_order(store: &dyn Store) {
    let claimer = register_instance(store).await;
    let living = register_instance(store).await;
    let sleeping = register_instance(store).await;
    let ours = create_raid(store, 5, &claimer, player(1)).await.raid;
    let theirs = create_raid(store, 4, &living, player(1)).await.raid;
    let orphan = create_raid(store, 3, &sleeping, player(1)).await.raid;
    let stray = create_raid(store, 2, &instance(), player(1)).await.raid;
    let free = create_raid(store, 1, &living, player(1)).await.raid;
    store
        .release(&[(free, Epoch(1))], living.id)
        .await
        .expect("release");
    expire_lease(store, &sleeping).await;

    let claims = claim_all(
        store,
        &[theirs, raid(99), ours, orphan, free, stray],
        &claimer,
    )
    .await;
    let mine = ClaimOutcome::Acquired(Epoch(2));
    assert_eq!(
        claims,
        [
            expected_held(&living),
            ClaimOutcome::Missing,
            mine.clone(),
            mine.clone(),
            mine.clone(),
            mine
        ]
    );
    for raid in [ours, orphan, free, stray] {
        assert_eq!(
            read_head(store, raid).await,
            RaidHead {
                owner: Some(claimer.id),
                epoch: Epoch(2),
                last_seq: Seq(2)
            }
        );
    }
    assert_eq!(read_head(store, theirs).await.epoch, Epoch(1));

    store.renew(&sleeping, LONG_TTL).await.expect("renew");
    assert_eq!(
        claim_all(store, &[orphan, theirs], &sleeping).await,
        [expected_held(&claimer), expected_held(&living)]
    );
}

pub async fn an_empty_claim_has_no_outcomes(store: &dyn Store) {
    let claimer = register_instance(store).await;
    assert_eq!(claim_all(store, &[], &claimer).await, []);
    assert_eq!(store.heads(&[]).await.expect("heads"), []);
    assert_eq!(store.owned_raids(claimer.id).await.expect("owned"), []);
}

pub async fn a_raid_listed_twice_in_a_claim_is_claimed_once(store: &dyn Store) {
    let owner = register_instance(store).await;
    let one = create_raid(store, 1, &owner, player(1)).await.raid;
    let other = create_raid(store, 2, &owner, player(1)).await.raid;
    let claims = claim_all(store, &[one, other, one], &owner).await;
    assert_eq!(
        claims,
        [
            ClaimOutcome::Acquired(Epoch(2)),
            ClaimOutcome::Acquired(Epoch(2)),
            ClaimOutcome::Acquired(Epoch(2))
        ]
    );
    assert_eq!(read_head(store, one).await.epoch, Epoch(2));
    assert_eq!(store.heads(&[one, one]).await.expect("heads").len(), 1);
}

/// Every outcome that a rival gets is true, and none is an error.
pub async fn rival_claims_of_many_raids_give_each_to_one(store: &dyn Store) {
    const RAIDS: u64 = 200;
    let former = register_instance(store).await;
    let one = register_instance(store).await;
    let other = register_instance(store).await;
    let mut raids = Vec::new();
    for id in 1..=RAIDS {
        raids.push(create_raid(store, id, &former, player(1)).await.raid);
    }
    let reversed: Vec<_> = raids.iter().rev().copied().collect();
    // At first the raids' owner has an expired lease; later the raids have no owner.
    expire_lease(store, &former).await;
    for round in 0..5 {
        let (mine, theirs) = tokio::join!(
            claim_until_settled(store, &raids, &one),
            claim_until_settled(store, &reversed, &other)
        );
        for (raid, (mine, theirs)) in raids.iter().zip(mine.iter().zip(theirs.iter().rev())) {
            let epoch = Epoch(round + 2);
            let owner = match (mine, theirs) {
                (ClaimOutcome::Acquired(won), lost)
                    if *lost == expected_held(&one) && *won == epoch =>
                {
                    &one
                }
                (lost, ClaimOutcome::Acquired(won))
                    if *lost == expected_held(&other) && *won == epoch =>
                {
                    &other
                }
                both => panic!("raid {raid}: {both:?}"),
            };
            let head = read_head(store, *raid).await;
            assert_eq!(
                (head.owner, head.epoch),
                (Some(owner.id), epoch),
                "raid {raid}"
            );
        }
        for rival in [&one, &other] {
            let owned = store.owned_raids(rival.id).await.expect("owned");
            store.release(&owned, rival.id).await.expect("release");
        }
    }
}

async fn claim_until_settled(
    store: &dyn Store,
    raids: &[RaidId],
    by: &InstanceRecord,
) -> Vec<ClaimOutcome> {
    let mut claims = claim_all(store, raids, by).await;
    for (raid, claim) in raids.iter().zip(&mut claims) {
        if *claim == ClaimOutcome::Contested {
            *claim = wait_for("a claim that is not contested", async || {
                let claim = self::claim(store, *raid, by).await;
                (claim != ClaimOutcome::Contested).then_some(claim)
            })
            .await;
        }
    }
    claims
}

pub async fn an_instance_owns_raids_it_created_or_claimed_and_not_released(store: &dyn Store) {
    let owner = register_instance(store).await;
    let other = register_instance(store).await;
    let claimed = create_raid(store, 3, &instance(), player(1)).await.raid;
    let made_by_owner = create_raid(store, 2, &owner, player(1)).await.raid;
    let released = create_raid(store, 1, &owner, player(1)).await.raid;
    let kept = create_raid(store, 4, &other, player(1)).await.raid;
    assert_eq!(
        claim(store, claimed, &owner).await,
        ClaimOutcome::Acquired(Epoch(2))
    );
    store
        .release(&[(released, Epoch(1))], owner.id)
        .await
        .expect("release");

    let owned = store.owned_raids(owner.id).await.expect("owned");
    assert_eq!(owned, [(made_by_owner, Epoch(1)), (claimed, Epoch(2))]);
    assert_eq!(
        store.owned_raids(other.id).await.expect("owned"),
        [(kept, Epoch(1))]
    );
    assert_eq!(store.owned_raids(instance().id).await.expect("owned"), []);

    expire_lease(store, &owner).await;
    let owned = store.owned_raids(owner.id).await.expect("owned");
    assert_eq!(owned.len(), 2, "until another instance claims them");
    assert_eq!(
        claim(store, claimed, &other).await,
        ClaimOutcome::Acquired(Epoch(3))
    );
    assert_eq!(
        store.owned_raids(owner.id).await.expect("owned"),
        [(made_by_owner, Epoch(1))]
    );
}

pub async fn heads_of_several_raids_leave_missing_ones_out(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut spoken = create_raid(store, 2, &owner, player(1)).await;
    assert_eq!(
        commit(store, &spoken.append([said("hello")])).await,
        CommitOutcome::Committed
    );
    let free = create_raid(store, 1, &owner, player(1)).await;
    store
        .release(&[(free.raid, Epoch(1))], owner.id)
        .await
        .expect("release");

    let mut heads = store
        .heads(&[spoken.raid, raid(9), free.raid, raid(8)])
        .await
        .expect("heads");
    heads.sort_unstable_by_key(|(raid, _)| *raid);
    let head = |owner, last_seq| RaidHead {
        owner,
        epoch: Epoch(1),
        last_seq: Seq(last_seq),
    };
    assert_eq!(
        heads,
        [
            (free.raid, head(None, 2)),
            (spoken.raid, head(Some(owner.id), 3))
        ]
    );
    assert_eq!(store.heads(&[raid(9)]).await.expect("heads"), []);
}

/// Creates an active raid with this deadline.
async fn create_active_raid(
    store: &dyn Store,
    id: u64,
    owner: &InstanceRecord,
    deadline: UnixMillis,
) -> History {
    let mut history = create_raid(store, id, owner, player(1)).await;
    assert_eq!(
        commit(store, &history.append([started(deadline)])).await,
        CommitOutcome::Committed
    );
    history
}

async fn due_raids(store: &dyn Store, until: UnixMillis, limit: u32) -> Vec<RaidId> {
    let due = store.due_raids(instance().id, None, until, limit).await;
    due.expect("due").iter().map(|due| due.raid).collect()
}

pub async fn due_raids_have_no_live_owner(store: &dyn Store) {
    let living = register_instance(store).await;
    let dying = register_instance(store).await;
    let at = UnixMillis(1_900_000_000_000);
    let held = create_active_raid(store, 1, &living, at).await;
    let orphan = create_active_raid(store, 2, &dying, at).await;
    let released = create_active_raid(store, 3, &living, at).await;
    let later = create_active_raid(store, 4, &dying, at.plus(1)).await;
    create_raid(store, 5, &dying, player(1)).await; // not started
    store
        .release(&[(released.raid, released.epoch)], living.id)
        .await
        .expect("release");
    assert_eq!(due_raids(store, at, 10).await, [released.raid]);

    expire_lease(store, &dying).await;
    assert_eq!(due_raids(store, at, 10).await, [orphan.raid, released.raid]);
    assert_eq!(due_raids(store, at.plus(-1), 10).await, []);
    assert_eq!(
        due_raids(store, at.plus(1), 10).await,
        [orphan.raid, released.raid, later.raid]
    );

    expire_lease(store, &living).await;
    assert_eq!(
        due_raids(store, at, 10).await,
        [held.raid, orphan.raid, released.raid]
    );
}

pub async fn due_raids_come_most_urgent_first(store: &dyn Store) {
    let at = UnixMillis(1_900_000_000_000);
    for (id, offset) in [(1, 30), (2, 10), (3, 20), (4, 0)] {
        create_active_raid(store, id, &instance(), at.plus(offset)).await;
    }
    let due = due_raids(store, at.plus(100), 3).await;
    assert_eq!(due, [raid(4), raid(2), raid(3)]);
}

pub async fn due_raids_come_in_pages(store: &dyn Store) {
    let at = UnixMillis(1_900_000_000_000);
    for (id, offset) in [(5, 0), (1, 0), (3, 0), (2, 10), (4, 5)] {
        create_active_raid(store, id, &instance(), at.plus(offset)).await;
    }
    for page in 1..=6 {
        let mut found = Vec::new();
        loop {
            let after = found.last().copied();
            let next = store
                .due_raids(instance().id, after, at.plus(100), page)
                .await
                .expect("due");
            let is_last = next.len() < page as usize;
            found.extend(next);
            if is_last {
                break;
            }
            assert!(found.len() <= 5, "the pages do not end: {found:?}");
        }
        let raids: Vec<_> = found.iter().map(|due| due.raid.get()).collect();
        assert_eq!(raids, [1, 3, 5, 4, 2], "pages of {page}");
        assert_eq!(found[4].deadline, at.plus(10));
    }
}

pub async fn ended_raids_are_not_due(store: &dyn Store) {
    let at = UnixMillis(1_900_000_000_000);
    let mut history = create_active_raid(store, 1, &instance(), at).await;
    assert_eq!(due_raids(store, at, 10).await, [history.raid]);
    assert_eq!(
        commit(store, &history.append([failed()])).await,
        CommitOutcome::Committed
    );
    assert_eq!(due_raids(store, at, 10).await, []);
}
