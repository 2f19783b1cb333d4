//! Checks of commits: each append takes effect exactly once, is fenced, and is independent of other
//! raids.

use raidhall::store::{ClaimOutcome, Epoch, StoreError};
use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::{EventData, RaidId, Seq, TaskId};

use super::*;
use crate::history::*;
use crate::wait::wait_for;

async fn last_seq(store: &dyn Store, id: u64) -> Seq {
    store
        .head(raid(id))
        .await
        .expect("read head")
        .map_or(Seq::ZERO, |head| head.last_seq)
}

async fn event_count(store: &dyn Store, id: u64) -> usize {
    store
        .events(raid(id), Seq::ZERO, 1_000)
        .await
        .expect("read events")
        .len()
}

pub async fn a_creation_inserts_the_raid(store: &dyn Store) {
    let owner = register_instance(store).await;
    let leader = create_player(store, "Ada").await;
    let mut history = History::new(raid(1), owner.id);
    history.create_key = Some(op("make"));
    let creation = history.creation(leader);
    assert_eq!(commit(store, &creation).await, CommitOutcome::Committed);

    let loaded = store
        .load(raid(1), 10)
        .await
        .expect("load")
        .expect("a raid");
    assert_eq!(loaded.created_month, history.born);
    assert_eq!(
        (loaded.head.owner, loaded.head.epoch),
        (Some(owner.id), Epoch(1))
    );
    assert_eq!(loaded.head.last_seq, Seq(2));
    assert_eq!(loaded.snapshot, None);
    let events: Vec<_> = creation
        .events
        .iter()
        .map(|recorded| recorded.event.clone())
        .collect();
    assert_eq!(loaded.tail, events);

    let rows = store
        .raids_by_member(leader, None, None, 10)
        .await
        .expect("raids of");
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(
        (row.id, row.title.as_str(), row.last_seq),
        (raid(1), "Raid 1", Seq(2))
    );
    assert_eq!(
        (row.target_xp, row.target_tasks, row.time_limit_secs),
        (500, 10, 86_400)
    );
    assert_eq!(row.created_at, creation.events[0].event.at);
    assert_eq!(row.header, creation.header);
}

pub async fn a_second_creation_with_the_same_key_exists(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut first = History::new(raid(1), owner.id);
    let mut second = History::new(raid(2), owner.id);
    (first.create_key, second.create_key) = (Some(op("make")), Some(op("make")));
    assert_eq!(
        commit(store, &first.creation(player(1))).await,
        CommitOutcome::Committed
    );
    assert_eq!(
        commit(store, &second.creation(player(1))).await,
        CommitOutcome::Exists
    );
    assert_eq!(store.head(raid(2)).await.expect("read head"), None);
    assert_eq!(event_count(store, 2).await, 0);
    assert_eq!(
        store
            .raids_by_member(player(1), None, None, 10)
            .await
            .expect("raids of")
            .len(),
        1
    );
    assert_eq!(
        store.raid_by_create_key(op("make")).await.expect("find"),
        Some(raid(1))
    );
}

pub async fn a_second_creation_with_the_same_invite_code_exists(store: &dyn Store) {
    let owner = register_instance(store).await;
    create_raid(store, 1, &owner, player(1)).await;
    let mut second = History::new(raid(2), owner.id);
    let append = second.append([raid_created(raid(1)), joined(player(1))]);
    assert_eq!(commit(store, &append).await, CommitOutcome::Exists);
    assert_eq!(store.head(raid(2)).await.expect("read head"), None);
    assert_eq!(event_count(store, 2).await, 0);
    assert_eq!(
        store
            .raid_by_invite(&invite_code(raid(1)))
            .await
            .expect("find"),
        Some(raid(1))
    );
}

fn invite_rotated(code: &str) -> EventData {
    EventData::InviteRotated {
        invite_code: code.to_owned(),
    }
}

async fn raid_by_invite(store: &dyn Store, code: &str) -> Option<RaidId> {
    store.raid_by_invite(code).await.expect("find")
}

pub async fn a_replaced_invite_code_is_found_no_more(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, player(1)).await;
    create_raid(store, 2, &owner, player(1)).await;
    let rotations = history.append([invite_rotated("FIRSTNEW"), invite_rotated("SECONDNEW")]);
    assert_eq!(commit(store, &rotations).await, CommitOutcome::Committed);
    assert_eq!(raid_by_invite(store, &invite_code(raid(1))).await, None);
    assert_eq!(raid_by_invite(store, "FIRSTNEW").await, None);
    assert_eq!(raid_by_invite(store, "SECONDNEW").await, Some(raid(1)));
    assert_eq!(
        raid_by_invite(store, &invite_code(raid(2))).await,
        Some(raid(2))
    );
    // Later commits keep the code, and a fenced one does not change it.
    let started = history.append([said("hi")]);
    assert_eq!(commit(store, &started).await, CommitOutcome::Committed);
    history.epoch = Epoch(0);
    let fenced = history.append([invite_rotated("THIRDNEW")]);
    assert_eq!(commit(store, &fenced).await, CommitOutcome::Fenced);
    assert_eq!(raid_by_invite(store, "SECONDNEW").await, Some(raid(1)));
    assert_eq!(raid_by_invite(store, "THIRDNEW").await, None);
    let rows = store
        .raids_by_member(player(1), None, None, 10)
        .await
        .expect("raids of");
    let row = rows.iter().find(|row| row.id == raid(1)).expect("the raid");
    assert_eq!(row.invite_code, "SECONDNEW");
}

pub async fn a_code_replaced_in_the_creating_append_is_the_new_one(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = History::new(raid(1), owner.id);
    let creation = history.append([
        raid_created(raid(1)),
        joined(player(1)),
        invite_rotated("NEW"),
    ]);
    assert_eq!(commit(store, &creation).await, CommitOutcome::Committed);
    assert_eq!(raid_by_invite(store, "NEW").await, Some(raid(1)));
    assert_eq!(raid_by_invite(store, &invite_code(raid(1))).await, None);
}

pub async fn a_new_invite_code_of_another_raid_is_refused(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, player(1)).await;
    create_raid(store, 2, &owner, player(1)).await;
    let rotation = history.append([invite_rotated(&invite_code(raid(2)))]);
    let refused = store.commit(&[rotation]).await;
    assert!(
        matches!(refused, Err(StoreError::Refused { .. })),
        "{refused:?}"
    );
    assert_eq!(
        raid_by_invite(store, &invite_code(raid(1))).await,
        Some(raid(1))
    );
}

pub async fn an_append_of_a_kick_and_a_thousand_removals_is_committed(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, player(1)).await;
    let task = |id: u64| TaskId::try_from(id).expect("an id");
    let added = (1..=500).map(|id| EventData::TaskAdded {
        task: task(id),
        title: "🔥".repeat(120),
        xp: 1,
        minutes: 0,
    });
    let before = history.append([joined(player(2))].into_iter().chain(added));
    assert_eq!(commit(store, &before).await, CommitOutcome::Committed);
    let left = EventData::MemberLeft {
        player: player(2),
        reason: LeaveReason::Kicked,
        released: Vec::new(),
    };
    let removals = (1..=500).map(task).flat_map(|task| {
        [
            EventData::TaskReleased {
                task,
                player: player(1),
            },
            EventData::TaskRemoved { task },
        ]
    });
    let kick = history.append([left].into_iter().chain(removals));
    assert_eq!(commit(store, &kick).await, CommitOutcome::Committed);
    assert_eq!(last_seq(store, 1).await, kick.last_seq());
    let tail = store
        .events(raid(1), before.last_seq(), 2_000)
        .await
        .expect("events");
    let committed: Vec<_> = kick.events.into_iter().map(|row| row.event).collect();
    assert_eq!(tail, committed);
}

pub async fn one_of_two_creations_with_one_key_in_a_batch_succeeds(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut first = History::new(raid(1), owner.id);
    let mut second = History::new(raid(2), owner.id);
    (first.create_key, second.create_key) = (Some(op("make")), Some(op("make")));
    let batch = [first.creation(player(1)), second.creation(player(1))];
    let mut outcomes = store.commit(&batch).await.expect("commit");
    outcomes.sort_by_key(|outcome| *outcome == CommitOutcome::Exists);
    assert_eq!(outcomes, [CommitOutcome::Committed, CommitOutcome::Exists]);
    assert_eq!(event_count(store, 1).await + event_count(store, 2).await, 2);
}

pub async fn a_creation_sent_again_is_committed_once(store: &dyn Store) {
    let owner = register_instance(store).await;
    let leader = create_player(store, "Ada").await;
    let mut history = History::new(raid(1), owner.id);
    history.create_key = Some(op("make"));
    let creation = history.append([
        raid_created(raid(1)),
        joined(leader),
        completed_task(leader, 5),
    ]);
    for _ in 0..3 {
        assert_eq!(commit(store, &creation).await, CommitOutcome::Committed);
    }
    assert_eq!(event_count(store, 1).await, 3);
    assert_eq!(ledger_totals(store, leader).await, (5, 1, 0));
}

pub async fn an_append_sent_again_is_committed_once(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let mut history = create_raid(store, 1, &owner, ada).await;
    let append = history.append_with_op([completed_task(ada, 40), won(&[ada])], Some(op("done")));
    for _ in 0..3 {
        assert_eq!(commit(store, &append).await, CommitOutcome::Committed);
    }
    assert_eq!(event_count(store, 1).await, 4);
    assert_eq!(ledger_totals(store, ada).await, (40, 1, 1));
}

pub async fn an_append_overtaken_by_the_next_is_committed_once(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let mut history = create_raid(store, 1, &owner, ada).await;
    let append = history.append([completed_task(ada, 40)]);
    let next = history.append([completed_task(ada, 2)]);
    assert_eq!(commit(store, &append).await, CommitOutcome::Committed);
    assert_eq!(commit(store, &next).await, CommitOutcome::Committed);
    assert_eq!(
        commit(store, &append).await,
        CommitOutcome::Committed,
        "as after a lost reply"
    );
    assert_eq!(event_count(store, 1).await, 4);
    assert_eq!(ledger_totals(store, ada).await, (42, 2, 0));
}

pub async fn an_older_epoch_is_fenced(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let mut history = create_raid(store, 1, &owner, ada).await;
    let stale = history.append([completed_task(ada, 40)]);
    assert_eq!(
        store.claim(&[raid(1)], owner.id).await.expect("claim"),
        [ClaimOutcome::Acquired(Epoch(2))]
    );
    assert_eq!(commit(store, &stale).await, CommitOutcome::Fenced);
    assert_eq!(event_count(store, 1).await, 2);
    assert_eq!(ledger_totals(store, ada).await, (0, 0, 0));

    let mut newer = stale.clone();
    newer.epoch = Epoch(3);
    assert_eq!(
        commit(store, &newer).await,
        CommitOutcome::Fenced,
        "an epoch that no claim returned"
    );
    newer.epoch = Epoch(2);
    assert_eq!(commit(store, &newer).await, CommitOutcome::Committed);
}

pub async fn another_owner_is_fenced(store: &dyn Store) {
    let owner = register_instance(store).await;
    let rival = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, player(1)).await;
    history.owner = rival.id;
    assert_eq!(
        commit(store, &history.append([said("mine!")])).await,
        CommitOutcome::Fenced
    );
    assert_eq!(last_seq(store, 1).await, Seq(2));

    let mut usurper = History::new(raid(1), rival.id);
    assert_eq!(
        commit(store, &usurper.creation(player(2))).await,
        CommitOutcome::Fenced,
        "the id is taken"
    );
    assert_eq!(event_count(store, 1).await, 2);
}

pub async fn a_released_raid_is_fenced(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, player(1)).await;
    store
        .release(&[(history.raid, history.epoch)], owner.id)
        .await
        .expect("release");
    assert_eq!(
        commit(store, &history.append([said("one more thing")])).await,
        CommitOutcome::Fenced
    );
    assert_eq!(event_count(store, 1).await, 2);
}

pub async fn a_raid_that_was_never_created_is_fenced(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = History::new(raid(1), owner.id);
    history.creation(player(1)); // never sent
    assert_eq!(
        commit(store, &history.append([said("hello?")])).await,
        CommitOutcome::Fenced
    );
    assert_eq!(store.head(raid(1)).await.expect("read head"), None);
    assert_eq!(event_count(store, 1).await, 0);
}

pub async fn an_append_ahead_of_its_predecessor_is_unclear(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, player(1)).await;
    let first = history.append([said("one")]);
    let second = history.append([said("two"), said("three")]);
    assert_eq!(commit(store, &second).await, CommitOutcome::Unclear);
    assert_eq!(event_count(store, 1).await, 2);
    assert_eq!(commit(store, &first).await, CommitOutcome::Committed);
    assert_eq!(commit(store, &second).await, CommitOutcome::Committed);
    assert_eq!(event_count(store, 1).await, 5);
}

pub async fn an_append_across_the_head_is_fenced(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, player(1)).await;
    let mut fork = history.clone();
    assert_eq!(
        commit(store, &history.append([said("one")])).await,
        CommitOutcome::Committed
    );
    assert_eq!(
        commit(store, &fork.append([said("uno"), said("dos")])).await,
        CommitOutcome::Fenced
    );
    assert_eq!(event_count(store, 1).await, 3);
}

pub async fn an_empty_batch_has_no_outcomes(store: &dyn Store) {
    assert_eq!(store.commit(&[]).await.expect("commit"), []);
}

/// Creates raids 1 to `count`, and returns an append of one event for each.
async fn raids_with_appends(
    store: &dyn Store,
    owner: &InstanceRecord,
    count: u64,
    event: impl Fn(u64) -> EventData,
) -> Vec<Append> {
    let mut batch = Vec::new();
    for id in 1..=count {
        let mut history = create_raid(store, id, owner, player(1_000)).await;
        batch.push(history.append_with_op([event(id)], Some(op(&format!("op-{id}")))));
    }
    batch
}

pub async fn one_fenced_raid_does_not_affect_the_other_49(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let mut batch = raids_with_appends(store, &owner, 50, |_| completed_task(ada, 10)).await;
    batch[20].epoch = Epoch(0);

    let outcomes = store.commit(&batch).await.expect("commit");

    for (index, outcome) in outcomes.into_iter().enumerate() {
        let expected = if index == 20 {
            CommitOutcome::Fenced
        } else {
            CommitOutcome::Committed
        };
        assert_eq!(outcome, expected, "append {index}");
    }
    assert_eq!(
        (last_seq(store, 20).await, last_seq(store, 21).await),
        (Seq(3), Seq(2))
    );
    assert_eq!(event_count(store, 21).await, 2);
    assert_eq!(ledger_totals(store, ada).await, (490, 49, 0));
}

pub async fn a_repeated_op_refuses_the_batch_and_only_it_is_refused_alone(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let mut batch = raids_with_appends(store, &owner, 50, |_| completed_task(ada, 10)).await;
    assert_eq!(
        commit(store, &batch[30].clone()).await,
        CommitOutcome::Committed
    );
    for recorded in &mut batch[30].events {
        recorded.event.seq = recorded.event.seq.next(); // another event, the same op
    }

    assert_refused(store, &batch).await;
    assert_eq!(
        (last_seq(store, 1).await, last_seq(store, 50).await),
        (Seq(2), Seq(2))
    );
    assert_eq!(
        (event_count(store, 1).await, event_count(store, 50).await),
        (2, 2)
    );
    assert_eq!(ledger_totals(store, ada).await, (10, 1, 0));

    for (index, append) in batch.iter().enumerate() {
        if index == 30 {
            assert_refused(store, std::slice::from_ref(append)).await;
        } else {
            assert_eq!(
                commit(store, append).await,
                CommitOutcome::Committed,
                "append {index}"
            );
        }
    }
    assert_eq!(ledger_totals(store, ada).await, (500, 50, 0));
    assert_eq!(last_seq(store, 31).await, Seq(3));
}

pub async fn a_number_too_large_refuses_the_batch(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut batch = raids_with_appends(store, &owner, 2, |_| said("fine")).await;
    batch[1].header.current_xp = u64::MAX;
    assert_refused(store, &batch).await;
    assert_eq!(
        (last_seq(store, 1).await, event_count(store, 1).await),
        (Seq(2), 2)
    );
}

pub async fn two_appends_of_one_raid_are_refused(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, player(1)).await;
    assert_refused(
        store,
        &[history.append([said("one")]), history.append([said("two")])],
    )
    .await;
    assert_eq!(event_count(store, 1).await, 2);
}

pub async fn a_gap_between_events_is_refused(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, player(1)).await;
    let mut append = history.append([said("one"), said("two"), said("three")]);
    append.events.remove(1);
    assert_refused(store, &[append.clone()]).await;
    append.events.clear();
    assert_refused(store, &[append]).await;
    assert_eq!(event_count(store, 1).await, 2);
}

pub async fn earnings_add_up_across_raids_and_within_one(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let bob = create_player(store, "Bob").await;
    let mut one = create_raid(store, 1, &owner, ada).await;
    let mut other = create_raid(store, 2, &owner, ada).await;
    let batch = [
        one.append([
            completed_task(ada, 1),
            contributed(bob, 1_000),
            contributed(ada, 10),
        ]),
        other.append([completed_task(ada, 100)]),
    ];
    assert_eq!(
        store.commit(&batch).await.expect("commit"),
        [CommitOutcome::Committed; 2]
    );
    assert_eq!(ledger_totals(store, ada).await, (111, 3, 0));
    assert_eq!(ledger_totals(store, bob).await, (1_000, 1, 0));
}

pub async fn a_repeated_append_is_not_counted_again_beside_new_raids(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let batch = raids_with_appends(store, &owner, 4, |id| {
        completed_task(ada, 10_u64.pow(id as u32))
    })
    .await;
    assert_eq!(
        store.commit(&batch[..2]).await.expect("commit"),
        [CommitOutcome::Committed; 2]
    );
    assert_eq!(
        store.commit(&batch).await.expect("commit"),
        [CommitOutcome::Committed; 4]
    );
    assert_eq!(ledger_totals(store, ada).await, (11_110, 4, 0));
}

pub async fn a_player_who_leaves_and_rejoins_in_one_append_is_a_member(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let bob = create_player(store, "Bob").await;
    let mut history = create_raid(store, 1, &owner, ada).await;
    let append = history.append([
        left(ada),
        joined(bob),
        left(bob),
        joined(ada),
        said("I'm back"),
        joined(bob),
    ]);
    assert_eq!(commit(store, &append).await, CommitOutcome::Committed);
    for player in [ada, bob] {
        assert_eq!(
            store
                .raids_by_member(player, None, None, 10)
                .await
                .expect("raids of")
                .len(),
            1
        );
    }
}

pub async fn a_player_who_joins_and_leaves_in_one_append_is_no_member(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let bob = create_player(store, "Bob").await;
    let mut history = create_raid(store, 1, &owner, ada).await;
    let append = history.append([joined(bob), left(ada), left(bob)]);
    assert_eq!(commit(store, &append).await, CommitOutcome::Committed);
    for player in [ada, bob] {
        assert_eq!(
            store
                .raids_by_member(player, None, None, 10)
                .await
                .expect("raids of"),
            []
        );
    }
}

pub async fn the_row_follows_the_events(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let mut history = create_raid(store, 1, &owner, ada).await;
    let deadline = UnixMillis(1_900_000_000_000);
    for data in [
        vec![started(deadline)],
        vec![said("go"), completed_task(ada, 40)],
        vec![won(&[ada])],
    ] {
        assert_eq!(
            commit(store, &history.append(data)).await,
            CommitOutcome::Committed
        );
        let rows = store
            .raids_by_member(ada, None, None, 1)
            .await
            .expect("raids of");
        assert_eq!(
            (rows[0].header, rows[0].last_seq),
            (history.header, history.seq)
        );
    }
    assert_eq!(history.header.status, RaidStatus::Completed);
}

/// Polls a commit a few times and then drops it, at ever later points.
pub async fn a_commit_whose_caller_gave_up_leaves_the_store_usable(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let mut history = create_raid(store, 1, &owner, ada).await;
    for round in 0..40_u64 {
        let append = history.append([completed_task(ada, 1)]);
        let batch = [append.clone()];
        let patience = Duration::from_micros(round * 50);
        let _ = tokio::time::timeout(patience, store.commit(&batch)).await;
        wait_for("the commit", async || match commit(store, &append).await {
            CommitOutcome::Committed => Some(()),
            CommitOutcome::Unclear => None,
            outcome => panic!("round {round}: {outcome:?}"),
        })
        .await;
    }
    assert_eq!(event_count(store, 1).await, 42);
    assert_eq!(ledger_totals(store, ada).await, (40, 40, 0));
}

pub async fn concurrent_commits_each_take_effect_once(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let batch = raids_with_appends(store, &owner, 8, |_| completed_task(ada, 1)).await;
    let (left, right) = batch.split_at(4);
    let same = &batch[..];
    // The same appends in several concurrent statements, with different other appends beside them.
    let settle = async |batch: &[Append]| {
        wait_for("the commits", async || {
            let outcomes = store.commit(batch).await.expect("commit");
            assert!(!outcomes.contains(&CommitOutcome::Fenced), "{outcomes:?}");
            let is_committed = |outcome: &CommitOutcome| *outcome == CommitOutcome::Committed;
            outcomes.iter().all(is_committed).then_some(())
        })
        .await;
    };
    tokio::join!(settle(left), settle(right), settle(same), settle(same));
    assert_eq!(ledger_totals(store, ada).await, (8, 8, 0));
    for id in 1..=8 {
        assert_eq!(event_count(store, id).await, 3);
    }
}
