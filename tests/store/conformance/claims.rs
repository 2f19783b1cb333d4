//! Who owns a raid, and which raids wait for an owner.

use super::*;
use crate::history::{failed, instance, player, said, started};
use raidhall::store::{Claim, Epoch, Head};
use raidhall_protocol::{RaidId, Seq};

async fn claim(store: &dyn Store, raid: RaidId, by: &Instance) -> Claim {
    let [claim] = &claim_all(store, &[raid], by).await[..] else { panic!("one answer") };
    claim.clone()
}

async fn claim_all(store: &dyn Store, raids: &[RaidId], by: &Instance) -> Vec<Claim> {
    store.claim(raids, by.id).await.expect("claim")
}

fn held(by: &Instance) -> Claim {
    Claim::Held { owner: by.id, ws_url: by.ws_url.clone() }
}

async fn head(store: &dyn Store, raid: RaidId) -> Head {
    store.head(raid).await.expect("read head").expect("a raid")
}

pub async fn a_raid_that_does_not_exist_is_missing(store: &dyn Store) {
    let instance = enlisted(store).await;
    assert_eq!(claim(store, raid(7), &instance).await, Claim::Missing);
    assert_eq!(store.head(raid(7)).await.expect("read head"), None);
}

pub async fn a_raid_of_a_living_instance_is_held(store: &dyn Store) {
    let (owner, rival) = (enlisted(store).await, enlisted(store).await);
    let history = made(store, 1, &owner, player(1)).await;
    assert_eq!(claim(store, history.raid, &rival).await, held(&owner));
    assert_eq!(
        head(store, history.raid).await,
        Head { owner: Some(owner.id), epoch: Epoch(1), last_seq: Seq(2) }
    );
}

pub async fn a_raid_whose_owners_lease_has_run_out_can_be_claimed(store: &dyn Store) {
    let (owner, rival) = (enlisted(store).await, enlisted(store).await);
    let mut history = made(store, 1, &owner, player(1)).await;
    let_lapse(store, &owner).await;

    assert_eq!(claim(store, history.raid, &rival).await, Claim::Ours(Epoch(2)));
    store.renew(&owner, LONG).await.expect("renew");
    assert_eq!(commit(store, &history.append([said("I was asleep")])).await, Fate::Fenced);
    assert_eq!(claim(store, history.raid, &owner).await, held(&rival));
}

pub async fn a_raid_whose_owner_never_enlisted_can_be_claimed(store: &dyn Store) {
    let claimer = enlisted(store).await;
    let history = made(store, 1, &instance(), player(1)).await;
    assert_eq!(claim(store, history.raid, &claimer).await, Claim::Ours(Epoch(2)));
}

pub async fn each_claim_is_a_new_epoch(store: &dyn Store) {
    let (one, other) = (enlisted(store).await, enlisted(store).await);
    let history = made(store, 1, &one, player(1)).await;
    for epoch in 2..6 {
        store.release(&[(history.raid, Epoch(epoch - 1))], one.id).await.expect("release");
        store.release(&[(history.raid, Epoch(epoch - 1))], other.id).await.expect("release");
        let claimer = if epoch % 2 == 0 { &other } else { &one };
        assert_eq!(claim(store, history.raid, claimer).await, Claim::Ours(Epoch(epoch)));
        assert_eq!(head(store, history.raid).await.owner, Some(claimer.id));
    }
}

pub async fn ones_own_raid_can_be_claimed_again(store: &dyn Store) {
    let owner = enlisted(store).await;
    let mut history = made(store, 1, &owner, player(1)).await;
    let in_flight = history.append([said("sent under the first claim")]);

    assert_eq!(claim(store, history.raid, &owner).await, Claim::Ours(Epoch(2)));
    assert_eq!(commit(store, &in_flight).await, Fate::Fenced);
    assert_eq!(head(store, history.raid).await.last_seq, Seq(2));
}

pub async fn a_released_raid_belongs_to_nobody(store: &dyn Store) {
    let (owner, next) = (enlisted(store).await, enlisted(store).await);
    let (one, other) = (made(store, 1, &owner, player(1)).await, made(store, 2, &owner, player(1)).await);
    store.release(&[(one.raid, one.epoch), (other.raid, other.epoch)], owner.id).await.expect("release");
    for raid in [one.raid, other.raid] {
        assert_eq!(head(store, raid).await, Head { owner: None, epoch: Epoch(1), last_seq: Seq(2) });
        assert_eq!(claim(store, raid, &next).await, Claim::Ours(Epoch(2)));
    }
    store.release(&[], owner.id).await.expect("release nothing");
}

pub async fn a_release_under_an_older_epoch_changes_nothing(store: &dyn Store) {
    let owner = enlisted(store).await;
    let (stale, fresh) = (made(store, 1, &owner, player(1)).await, made(store, 2, &owner, player(1)).await);
    assert_eq!(claim(store, stale.raid, &owner).await, Claim::Ours(Epoch(2)));
    store
        .release(&[(stale.raid, Epoch(1)), (raid(99), Epoch(1)), (fresh.raid, Epoch(1))], owner.id)
        .await
        .expect("release");
    assert_eq!(head(store, stale.raid).await.owner, Some(owner.id));
    assert_eq!(head(store, fresh.raid).await.owner, None);
    store.release(&[(stale.raid, Epoch(2))], instance().id).await.expect("release another's");
    assert_eq!(head(store, stale.raid).await.owner, Some(owner.id));
}

pub async fn of_rival_claims_one_wins(store: &dyn Store) {
    let owner = enlisted(store).await;
    let rivals = [enlisted(store).await, enlisted(store).await, enlisted(store).await];
    let history = made(store, 1, &owner, player(1)).await;
    store.release(&[(history.raid, history.epoch)], owner.id).await.expect("release");

    let [a, b, c] = &rivals;
    let claims = tokio::join!(
        claim(store, history.raid, a),
        claim(store, history.raid, b),
        claim(store, history.raid, c)
    );
    let claims = [claims.0, claims.1, claims.2];
    let winner = claims.iter().position(|claim| *claim == Claim::Ours(Epoch(2))).expect("a winner");
    for (index, claim) in claims.into_iter().enumerate().filter(|(index, _)| *index != winner) {
        assert_eq!(claim, held(&rivals[winner]), "rival {index}");
    }
}

pub async fn a_claim_whose_caller_gave_up_leaves_the_store_usable(store: &dyn Store) {
    let owner = enlisted(store).await;
    let mut history = made(store, 1, &owner, player(1)).await;
    let raids = [history.raid];
    give_up_on(|| store.claim(&raids, owner.id)).await.expect("claim");
    let Claim::Ours(epoch) = claim(store, history.raid, &owner).await else { panic!("not ours") };
    assert_eq!(head(store, history.raid).await.epoch, epoch);
    history.epoch = epoch;
    assert_eq!(commit(store, &history.append([said("here")])).await, Fate::Committed);
}

/// An active raid with this deadline.
async fn active(store: &dyn Store, id: u64, owner: &Instance, deadline: UnixMillis) -> History {
    let mut history = made(store, id, owner, player(1)).await;
    assert_eq!(commit(store, &history.append([started(deadline)])).await, Fate::Committed);
    history
}

pub async fn due_raids_are_those_that_nobody_living_owns(store: &dyn Store) {
    let (living, dying) = (enlisted(store).await, enlisted(store).await);
    let at = UnixMillis(1_900_000_000_000);
    let held = active(store, 1, &living, at).await;
    let orphan = active(store, 2, &dying, at).await;
    let released = active(store, 3, &living, at).await;
    let later = active(store, 4, &dying, at.plus(1)).await;
    made(store, 5, &dying, player(1)).await; // not started
    store.release(&[(released.raid, released.epoch)], living.id).await.expect("release");
    assert_eq!(store.due(instance().id, at, 10).await.expect("due"), [released.raid]);

    let_lapse(store, &dying).await;
    assert_eq!(store.due(instance().id, at, 10).await.expect("due"), [orphan.raid, released.raid]);
    assert_eq!(store.due(instance().id, at.plus(-1), 10).await.expect("due"), []);
    assert_eq!(
        store.due(instance().id, at.plus(1), 10).await.expect("due"),
        [orphan.raid, released.raid, later.raid]
    );

    let_lapse(store, &living).await;
    assert_eq!(store.due(instance().id, at, 10).await.expect("due"), [held.raid, orphan.raid, released.raid]);
}

pub async fn due_raids_come_most_urgent_first(store: &dyn Store) {
    let at = UnixMillis(1_900_000_000_000);
    for (id, offset) in [(1, 30), (2, 10), (3, 20), (4, 0)] {
        active(store, id, &instance(), at.plus(offset)).await;
    }
    let due = store.due(instance().id, at.plus(100), 3).await.expect("due");
    assert_eq!(due, [raid(4), raid(2), raid(3)]);
}

pub async fn ended_raids_are_not_due(store: &dyn Store) {
    let at = UnixMillis(1_900_000_000_000);
    let mut history = active(store, 1, &instance(), at).await;
    assert_eq!(store.due(instance().id, at, 10).await.expect("due"), [history.raid]);
    assert_eq!(commit(store, &history.append([failed()])).await, Fate::Committed);
    assert_eq!(store.due(instance().id, at, 10).await.expect("due"), []);
}
