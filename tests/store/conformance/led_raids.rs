//! Checks of the limit on open raids that one player leads.

use futures_util::future::join_all;
use raidhall_protocol::EventData;
use raidhall_protocol::event::{FailReason, LeaderReason};

use super::*;
use crate::history::*;
use crate::wait::wait_for;

/// Returns the history of a raid whose leader may lead this many.
fn limited_creation(id: u64, owner: &InstanceRecord, max: u32) -> History {
    let mut history = History::new(raid(id), owner.id);
    history.create_key = Some(op(&format!("make-{id}")));
    history.led_raids_max = Some(max);
    history
}

pub async fn a_player_leads_at_most_as_many_open_raids_as_the_terms_allow(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    let create = async |id: u64, leader: PlayerId| {
        let mut history = limited_creation(id, &owner, 2);
        let outcome = commit(store, &history.creation(leader)).await;
        (outcome, history)
    };
    let (_, mut first) = create(1, ada).await;
    let (_, mut second) = create(2, ada).await;
    assert_eq!(create(3, ada).await.0, CommitOutcome::OverQuota);
    assert_eq!(store.head(raid(3)).await.expect("read head"), None);
    assert_eq!(create(4, ben).await.0, CommitOutcome::Committed);
    let mut unlimited = History::new(raid(5), owner.id);
    let creation = unlimited.creation(ada);
    assert_eq!(commit(store, &creation).await, CommitOutcome::Committed);

    // An ended raid does not count, and neither does one that another player leads.
    let failed = EventData::RaidFailed {
        reason: FailReason::Cancelled,
    };
    let ended = first.append([failed]);
    assert_eq!(commit(store, &ended).await, CommitOutcome::Committed);
    assert_eq!(create(6, ada).await.0, CommitOutcome::OverQuota);
    let promoted = |history: &mut History, player, previous| {
        history.append([EventData::LeaderChanged {
            player,
            previous,
            reason: LeaderReason::Promoted,
            term: 2,
        }])
    };
    let change = promoted(&mut second, ben, ada);
    assert_eq!(commit(store, &change).await, CommitOutcome::Committed);
    assert_eq!(create(7, ada).await.0, CommitOutcome::Committed);
    assert_eq!(create(8, ada).await.0, CommitOutcome::OverQuota);
    assert_eq!(
        create(9, ben).await.0,
        CommitOutcome::OverQuota,
        "a lead that was given counts"
    );
}

pub async fn creations_of_one_leader_in_a_batch_succeed_up_to_the_limit(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    let mut given = History::new(raid(1), owner.id);
    let mut ended = limited_creation(2, &owner, 5);
    let first = [
        given.creation(ada),
        ended.creation(ada),
        limited_creation(3, &owner, 5).creation(ada),
    ];
    let outcomes = store.commit(&first).await.expect("commit");
    assert_eq!(outcomes, [CommitOutcome::Committed; 3]);
    let end = ended.append([failed()]);
    assert_eq!(commit(store, &end).await, CommitOutcome::Committed);

    // Ada leads two open raids, and one slot before that of the second is free.
    let batch: Vec<_> = (10..20)
        .map(|id| {
            let leader = if id % 2 == 0 { ada } else { ben };
            limited_creation(id, &owner, 5).creation(leader)
        })
        .collect();
    let outcomes = store.commit(&batch).await.expect("commit");
    let of_ada: Vec<_> = outcomes.iter().step_by(2).copied().collect();
    let of_ben: Vec<_> = outcomes.iter().skip(1).step_by(2).copied().collect();
    assert_eq!(of_ada[..3], [CommitOutcome::Committed; 3]);
    assert_eq!(of_ada[3..], [CommitOutcome::OverQuota; 2]);
    assert_eq!(of_ben, [CommitOutcome::Committed; 5]);
}

pub async fn a_creation_sent_again_takes_no_place_of_another(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let first = limited_creation(1, &owner, 2).creation(ada);
    assert_eq!(commit(store, &first).await, CommitOutcome::Committed);
    let second = limited_creation(2, &owner, 2).creation(ada);
    let outcomes = store.commit(&[first, second]).await.expect("commit");
    assert_eq!(outcomes, [CommitOutcome::Committed; 2]);
}

pub async fn concurrent_creations_do_not_exceed_the_led_raids(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let creations: Vec<_> = (1..=12)
        .map(|id| limited_creation(id, &owner, 5).creation(ada))
        .collect();
    let (one, other) = creations.split_at(6);
    let outcomes = join_all([one, other].map(async |batch| {
        let mut pending = batch.to_vec();
        let mut known = Vec::new();
        wait_for("the commits' outcomes", async || {
            let outcomes = store.commit(&pending).await.expect("commit");
            let mut unclear = Vec::new();
            for (append, outcome) in pending.drain(..).zip(outcomes) {
                match outcome {
                    CommitOutcome::Unclear => unclear.push(append),
                    known_outcome => known.push(known_outcome),
                }
            }
            pending = unclear;
            pending.is_empty().then_some(())
        })
        .await;
        known
    }))
    .await
    .concat();
    let count = |wanted| {
        outcomes
            .iter()
            .filter(|outcome| **outcome == wanted)
            .count()
    };
    assert_eq!(count(CommitOutcome::Committed), 5, "{outcomes:?}");
    assert_eq!(count(CommitOutcome::OverQuota), 7, "{outcomes:?}");
}
