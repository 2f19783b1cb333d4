//! Tests of instances that claim the same raids at the same time, each on connections of its own.

use std::collections::HashMap;
use std::sync::Arc;

use raidhall::store::{
    Append, ClaimOutcome, CommitOutcome, Epoch, InstanceRecord, Leases, Ledger, Ownership, Store,
};
use raidhall_protocol::{RaidId, Seq};

use super::open;
use crate::conformance::{LONG_TTL, create_raid, expire_lease, register_instance};
use crate::database::PostgresDatabase;
use crate::history::{History, instance, player, raid, said};

const RAIDS: u64 = 200;

async fn make_raids(store: &dyn Store, owner: &InstanceRecord) -> Vec<RaidId> {
    let mut creations = Vec::new();
    for id in 1..=RAIDS {
        creations.push(History::new(raid(id), owner.id).creation(player(1)));
    }
    let outcomes = store.commit(&creations).await.expect("commit");
    assert!(
        outcomes
            .iter()
            .all(|outcome| *outcome == CommitOutcome::Committed)
    );
    creations.iter().map(|append| append.raid).collect()
}

/// Appends one event to each raid that the owner still owns.
async fn append_to_each(
    store: &dyn Store,
    owner: &InstanceRecord,
    claimed: &HashMap<RaidId, Epoch>,
    order: &[RaidId],
) {
    let heads: HashMap<_, _> = store
        .heads(order)
        .await
        .expect("heads")
        .into_iter()
        .collect();
    let batch: Vec<Append> = (order.iter())
        .filter_map(|raid| {
            let mut history = History::new(*raid, owner.id);
            (history.epoch, history.seq) = (*claimed.get(raid)?, heads[raid].last_seq);
            Some(history.append([said("mine")]))
        })
        .collect();
    let outcomes = store.commit(&batch).await.expect("commit");
    assert_eq!(outcomes.len(), batch.len());
}

/// Instances claim, commit to, release and deregister from the same 200 raids in different orders.
/// No call fails, least of all with a deadlock, and every reported outcome is true: a raid has one
/// owner per epoch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rival_claims_of_the_same_raids_get_distinct_epochs_without_error() {
    const ROUNDS: usize = 15;
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    let former = register_instance(&*store).await;
    let raids = make_raids(&*store, &former).await;
    expire_lease(&*store, &former).await;

    let mut rivals = Vec::new();
    for number in 0..3 {
        let store = open(&database).await;
        let mut raids = raids.clone();
        raids.rotate_left(number * 70);
        if number == 1 {
            raids.reverse();
        }
        rivals.push(tokio::spawn(async move {
            let mut won = Vec::new();
            for round in 0..ROUNDS {
                let me = instance();
                store
                    .register(&me, LONG_TTL, LONG_TTL)
                    .await
                    .expect("register");
                let mut mine = HashMap::new();
                for _ in 0..2 {
                    let claims = store.claim(&raids, me.id).await.expect("claim");
                    assert!(!claims.contains(&ClaimOutcome::Missing));
                    for (raid, claim) in raids.iter().zip(claims) {
                        if let ClaimOutcome::Acquired(epoch) = claim {
                            mine.insert(*raid, epoch);
                            won.push((*raid, epoch));
                        }
                    }
                    append_to_each(&*store, &me, &mine, &raids).await;
                }
                // An abandoned statement may still run when the instance deregisters.
                let (_, deregistered) =
                    tokio::join!(append_to_each(&*store, &me, &mine, &raids), async {
                        if round % 2 == 0 {
                            let owned: Vec<_> =
                                mine.iter().map(|(raid, epoch)| (*raid, *epoch)).collect();
                            store.release(&owned, me.id).await.expect("release");
                        }
                        store.deregister(me.id).await
                    });
                deregistered.expect("deregister");
            }
            won
        }));
    }
    let mut won = Vec::new();
    for rival in rivals {
        won.extend(rival.await.expect("no error"));
    }
    let claims = won.len();
    won.sort_unstable();
    won.dedup();
    assert_eq!(won.len(), claims, "an epoch was assigned twice");
    for (raid, head) in store.heads(&raids).await.expect("heads") {
        let given = won
            .iter()
            .filter(|(claimed, _)| *claimed == raid)
            .map(|(_, epoch)| epoch.0);
        assert!(
            (2..=head.epoch.0).eq(given),
            "raid {raid}: an epoch that no claim returned"
        );
        let events = store
            .events(raid, Seq::ZERO, u32::MAX)
            .await
            .expect("events");
        assert!(
            (1..=head.last_seq.0).eq(events.iter().map(|event| event.seq.0)),
            "raid {raid}"
        );
    }
}

/// A commit locks raids in the order of ids. A deregistration finds them in their order in the
/// table, and has to lock them by id, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deregistering_during_the_last_commit_does_not_deadlock() {
    let database = PostgresDatabase::create().await;
    let store = open(&database).await;
    for round in 0..40 {
        let owner = register_instance(&*store).await;
        let mut histories = Vec::new();
        for id in (1..=12).rev() {
            histories.push(create_raid(&*store, round * 12 + id, &owner, player(1)).await);
        }
        let batch: Vec<_> = histories
            .iter_mut()
            .map(|history| history.append([said("last words")]))
            .collect();
        let committing = Arc::clone(&store);
        let retiring = Arc::clone(&store);
        let commit = tokio::spawn(async move { committing.commit(&batch).await });
        let retire = tokio::spawn(async move { retiring.deregister(owner.id).await });
        retire.await.expect("join").expect("deregister");
        commit.await.expect("join").expect("commit");
    }
}
