//! Checks of reads: loads of raids, pages of the ledger, lists.

use raidhall::store::{Epoch, OpHash, RaidRow};
use raidhall_protocol::event::{LeaderReason, LeaveReason};
use raidhall_protocol::player::event::RaidPlace;
use raidhall_protocol::rest::Contribution;
use raidhall_protocol::state::{RaidStatus, Role};
use raidhall_protocol::{Event, EventData, RaidId, Seq};

use super::*;
use crate::history::*;

fn seqs(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq.0).collect()
}

fn ids(rows: &[RaidRow]) -> Vec<RaidId> {
    rows.iter().map(|row| row.id).collect()
}

/// Creates raid 1 with `count` events after its first two.
async fn create_raid_with_chat(store: &dyn Store, owner: &InstanceRecord, count: usize) -> History {
    let mut history = create_raid(store, 1, owner, player(1)).await;
    let append = history.append((0..count).map(|index| said(&format!("line {index}"))));
    assert_eq!(commit(store, &append).await, CommitOutcome::Committed);
    history
}

pub async fn a_load_is_the_snapshot_and_the_events_after_it(store: &dyn Store) {
    let owner = register_instance(store).await;
    let history = create_raid_with_chat(store, &owner, 8).await;
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    store
        .save_snapshot(raid(1), owner.id, history.epoch, Seq(6), &bytes)
        .await
        .expect("save");

    let loaded = store.load(raid(1), 0).await.expect("load").expect("a raid");
    assert_eq!(loaded.snapshot, Some((Seq(6), bytes)));
    assert_eq!(seqs(&loaded.tail), [7, 8, 9, 10]);
    assert_eq!(loaded.head.last_seq, Seq(10));

    store
        .save_snapshot(raid(1), owner.id, history.epoch, Seq(10), b"all")
        .await
        .expect("save");
    let loaded = store.load(raid(1), 0).await.expect("load").expect("a raid");
    assert_eq!(loaded.snapshot, Some((Seq(10), b"all".to_vec())));
    assert_eq!(loaded.tail, []);
}

pub async fn a_load_whose_caller_gave_up_leaves_the_store_usable(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = create_raid_with_chat(store, &owner, 100).await;
    for _ in 0..10 {
        cancel_repeatedly(|| store.load(raid(1), 100))
            .await
            .expect("load");
        assert_eq!(
            commit(store, &history.append([said("and on")])).await,
            CommitOutcome::Committed
        );
        let loaded = store
            .load(raid(1), 100)
            .await
            .expect("load")
            .expect("a raid");
        assert_eq!(
            (loaded.head.last_seq, loaded.tail.len() as u64),
            (history.seq, history.seq.0)
        );
    }
}

pub async fn a_load_of_a_missing_raid_is_none(store: &dyn Store) {
    assert!(store.load(raid(1), 10).await.expect("load").is_none());
    assert_eq!(
        store.events(raid(1), Seq::ZERO, 10).await.expect("events"),
        []
    );
    assert_eq!(
        store
            .contributions(raid(1), Seq::ZERO, 10)
            .await
            .expect("contributions"),
        []
    );
    assert_eq!(
        store
            .find_ops(raid(1), &[op("any")])
            .await
            .expect("find ops"),
        []
    );
}

pub async fn a_snapshot_is_not_replaced_by_an_older_one(store: &dyn Store) {
    let owner = register_instance(store).await;
    let history = create_raid_with_chat(store, &owner, 8).await;
    for (seq, bytes) in [(5, b"five"), (4, b"four")] {
        store
            .save_snapshot(raid(1), owner.id, history.epoch, Seq(seq), bytes)
            .await
            .expect("save");
    }
    let loaded = store.load(raid(1), 0).await.expect("load").expect("a raid");
    assert_eq!(loaded.snapshot, Some((Seq(5), b"five".to_vec())));
    assert_eq!(seqs(&loaded.tail), [6, 7, 8, 9, 10]);
}

pub async fn a_snapshot_of_a_former_owner_is_dropped(store: &dyn Store) {
    let owner = register_instance(store).await;
    let history = create_raid_with_chat(store, &owner, 8).await;
    store.claim(&[raid(1)], owner.id).await.expect("claim");
    store
        .save_snapshot(raid(1), owner.id, history.epoch, Seq(5), b"stale")
        .await
        .expect("save");
    store
        .save_snapshot(raid(1), instance().id, Epoch(2), Seq(5), b"strange")
        .await
        .expect("save");
    store
        .save_snapshot(raid(77), owner.id, Epoch(1), Seq(5), b"nowhere")
        .await
        .expect("save");
    let loaded = store.load(raid(1), 0).await.expect("load").expect("a raid");
    assert_eq!(loaded.snapshot, None);
    store
        .save_snapshot(raid(1), owner.id, Epoch(2), Seq(5), b"mine")
        .await
        .expect("save");
    let loaded = store.load(raid(1), 0).await.expect("load").expect("a raid");
    assert_eq!(loaded.snapshot, Some((Seq(5), b"mine".to_vec())));
}

/// Creates two raids, each with ten commands, of which every other carries an op: op-1 on event 3,
/// op-3 on event 5, …
async fn create_raids_with_ops(store: &dyn Store, owner: &InstanceRecord) {
    for id in [1, 2] {
        let mut history = create_raid(store, id, owner, player(1)).await;
        for index in 1..=10 {
            let key = (index % 2 == 1).then(|| op(&format!("op-{index}")));
            let append = history.append_with_op([said("x")], key);
            assert_eq!(commit(store, &append).await, CommitOutcome::Committed);
        }
    }
}

pub async fn an_op_never_expires(store: &dyn Store) {
    let owner = register_instance(store).await;
    create_raids_with_ops(store, &owner).await;
    store
        .save_snapshot(raid(1), owner.id, Epoch(1), Seq(12), b"all")
        .await
        .expect("save");
    for id in [1, 2] {
        let mut found = store
            .find_ops(raid(id), &["op-9", "op-2", "op-1"].map(op))
            .await
            .expect("find ops");
        found.sort_unstable_by_key(|(_, seq)| *seq);
        assert_eq!(found, [(op("op-1"), Seq(3)), (op("op-9"), Seq(11))]);
    }
}

pub async fn ops_are_loaded_oldest_first_within_the_window(store: &dyn Store) {
    let owner = register_instance(store).await;
    create_raids_with_ops(store, &owner).await;
    store
        .save_snapshot(raid(1), owner.id, Epoch(1), Seq(12), b"all")
        .await
        .expect("save");
    let ops = async |op_keys| {
        store
            .load(raid(1), op_keys)
            .await
            .expect("load")
            .expect("a raid")
            .ops
    };
    let expected: Vec<(OpHash, Seq)> = [(1, 3), (3, 5), (5, 7), (7, 9), (9, 11)]
        .map(|(n, seq)| (op(&format!("op-{n}")), Seq(seq)))
        .into();
    assert_eq!(ops(1_000).await, expected);
    assert_eq!(ops(u64::MAX).await, expected);
    assert_eq!(ops(12).await, expected);
    assert_eq!(ops(6).await, expected[2..], "the events after 12 - 6");
    assert_eq!(ops(5).await, expected[3..]);
    assert_eq!(ops(1).await, []);
    assert_eq!(ops(0).await, []);
}

pub async fn events_come_in_pages(store: &dyn Store) {
    let owner = register_instance(store).await;
    create_raid_with_chat(store, &owner, 8).await;
    let mut other = create_raid(store, 2, &owner, player(1)).await;
    commit(store, &other.append([said("elsewhere")])).await;
    let page = async |after, limit| {
        seqs(
            &store
                .events(raid(1), Seq(after), limit)
                .await
                .expect("events"),
        )
    };
    assert_eq!(page(0, 4).await, [1, 2, 3, 4]);
    assert_eq!(page(4, 4).await, [5, 6, 7, 8]);
    assert_eq!(page(8, 4).await, [9, 10]);
    assert!(page(10, 4).await.is_empty());
    assert!(page(1_000, 4).await.is_empty());
    assert!(page(0, 0).await.is_empty());
}

pub async fn events_of_several_raids_are_read_by_their_places(store: &dyn Store) {
    let owner = register_instance(store).await;
    create_raid_with_chat(store, &owner, 8).await;
    create_raid(store, 2, &owner, player(1)).await;
    let place = |of, seq| RaidPlace {
        raid: raid(of),
        seq: Seq(seq),
    };
    let missing = [place(1, 11), place(3, 1)];
    let mut places = vec![place(1, 10), place(2, 1), place(1, 3)];
    places.extend(missing);
    let found = store.events_at(&places).await.expect("events");
    let found = found.into_iter().map(|it| (it.raid, it.event));
    let mut found: Vec<_> = found.collect();
    found.sort_unstable_by_key(|(raid, event)| (*raid, event.seq));
    let mut expected = Vec::new();
    for (of, seq) in [(1, 3), (1, 10), (2, 1)] {
        let events = store.events(raid(of), Seq(seq - 1), 1).await;
        expected.push((raid(of), events.expect("events").remove(0)));
    }
    assert_eq!(found, expected);
    assert_eq!(store.events_at(&[]).await.expect("events"), []);
}

pub async fn contributions_come_in_pages(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, player(1)).await;
    let append = history.append([
        completed_task(player(1), 40),
        said("well done"),
        contributed(player(2), 15),
        completed_task(player(2), 5),
    ]);
    assert_eq!(commit(store, &append).await, CommitOutcome::Committed);
    let at = |seq: i64| CREATED_AT.plus(seq);
    let by_task = |seq: u64, who, xp| Contribution {
        seq: Seq(seq),
        at: at(seq.cast_signed()),
        player: player(who),
        xp,
        kind: "task_complete".into(),
        task: Some(task(3)),
        note: None,
    };
    let by_backend = Contribution {
        seq: Seq(5),
        at: at(5),
        player: player(2),
        xp: 15,
        kind: "habit".into(),
        task: None,
        note: Some("ten push-ups".into()),
    };
    let page = async |after, limit| {
        store
            .contributions(raid(1), Seq(after), limit)
            .await
            .expect("contributions")
    };
    assert_eq!(
        page(0, 10).await,
        [by_task(3, 1, 40), by_backend.clone(), by_task(6, 2, 5)]
    );
    assert_eq!(page(0, 1).await, [by_task(3, 1, 40)]);
    assert_eq!(page(3, 1).await, [by_backend]);
    assert!(page(6, 10).await.is_empty());
}

pub async fn every_kind_of_event_survives_a_round_trip_through_the_store(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, player(1)).await;
    let ada = player(1);
    let bob = player(2);
    let append = history.append([
        EventData::MemberJoined {
            player: bob,
            name: "Bob".into(),
            role: Role::Leader,
            xp: 3,
            tasks: 2,
            energy: 50,
            energy_at: UnixMillis(1),
            joined_at: UnixMillis(2),
        },
        EventData::MemberLeft {
            player: bob,
            reason: LeaveReason::Kicked,
            released: vec![],
        },
        left(ada),
        EventData::LeaderChanged {
            player: bob,
            previous: ada,
            reason: LeaderReason::LeaderOffline,
            term: 2,
        },
        started(UnixMillis(1_900_000_000_000)),
        EventData::TaskAdded {
            task: task(1),
            title: "Fix".into(),
            xp: 5,
            minutes: 25,
        },
        EventData::TaskClaimed {
            task: task(1),
            player: ada,
            energy: 90,
        },
        EventData::TaskReleased {
            task: task(1),
            player: ada,
        },
        completed_task(ada, 5),
        EventData::TaskFailed {
            task: task(1),
            player: ada,
            energy: 1,
        },
        contributed(bob, 9),
        said("hello"),
        won(&[ada, bob]),
        failed(),
    ]);
    assert_eq!(commit(store, &append).await, CommitOutcome::Committed);
    let expected: Vec<_> = append
        .events
        .into_iter()
        .map(|recorded| recorded.event)
        .collect();
    assert_eq!(
        store.events(raid(1), Seq(2), 100).await.expect("events"),
        expected
    );
    let loaded = store.load(raid(1), 0).await.expect("load").expect("a raid");
    assert_eq!(loaded.tail[2..], expected);
}

pub async fn raids_are_found_by_invite_code_and_create_key(store: &dyn Store) {
    let owner = register_instance(store).await;
    for id in [1, 2] {
        let mut history = History::new(raid(id), owner.id);
        history.create_key = Some(op(&format!("make-{id}")));
        assert_eq!(
            commit(store, &history.creation(player(1))).await,
            CommitOutcome::Committed
        );
        create_raid(store, id + 10, &owner, player(1)).await; // no key
    }
    for id in [1, 2] {
        let code = invite_code(raid(id));
        assert_eq!(
            store.raid_by_invite(&code).await.expect("find"),
            Some(raid(id))
        );
        let key = op(&format!("make-{id}"));
        assert_eq!(
            store.raid_by_create_key(key).await.expect("find"),
            Some(raid(id))
        );
    }
    assert_eq!(store.raid_by_invite("NOSUCH22").await.expect("find"), None);
    assert_eq!(
        store.raid_by_create_key(op("never")).await.expect("find"),
        None
    );
}

pub async fn a_players_raids_come_newest_first_in_pages(store: &dyn Store) {
    let owner = register_instance(store).await;
    for id in [3, 1, 4, 2, 5] {
        create_raid(store, id, &owner, player(1)).await;
    }
    create_raid(store, 6, &owner, player(2)).await;
    let page = async |before: Option<u64>, limit| {
        ids(&store
            .raids_by_member(player(1), None, before.map(raid), limit)
            .await
            .expect("raids of"))
    };
    assert_eq!(page(None, 2).await, [raid(5), raid(4)]);
    assert_eq!(page(Some(4), 2).await, [raid(3), raid(2)]);
    assert_eq!(page(Some(2), 2).await, [raid(1)]);
    assert_eq!(page(Some(1), 2).await, []);
}

pub async fn a_listed_raid_has_the_values_of_its_creation(store: &dyn Store) {
    let owner = register_instance(store).await;
    let history = create_raid(store, 1, &owner, player(1)).await;
    let rows = store
        .raids_by_member(player(1), None, None, 10)
        .await
        .expect("raids of");
    let expected = RaidRow {
        id: raid(1),
        title: "Raid 1".into(),
        invite_code: invite_code(raid(1)),
        target_xp: 500,
        target_tasks: 10,
        time_limit_secs: 86_400,
        created_at: CREATED_AT.plus(1),
        header: history.header,
        last_seq: history.seq,
    };
    assert_eq!(rows, [expected]);
}

pub async fn a_players_raids_can_be_filtered_by_status(store: &dyn Store) {
    let owner = register_instance(store).await;
    let deadline = UnixMillis(1_900_000_000_000);
    for (id, data) in [
        (1, vec![]),
        (2, vec![started(deadline)]),
        (3, vec![started(deadline), won(&[player(1)])]),
        (4, vec![failed()]),
        (5, vec![started(deadline)]),
    ] {
        let mut history = create_raid(store, id, &owner, player(1)).await;
        if !data.is_empty() {
            assert_eq!(
                commit(store, &history.append(data)).await,
                CommitOutcome::Committed
            );
        }
    }
    for (status, expected) in [
        (RaidStatus::Recruiting, vec![raid(1)]),
        (RaidStatus::Active, vec![raid(5), raid(2)]),
        (RaidStatus::Completed, vec![raid(3)]),
        (RaidStatus::Failed, vec![raid(4)]),
    ] {
        let rows = store
            .raids_by_member(player(1), Some(status), None, 10)
            .await
            .expect("raids of");
        assert_eq!(ids(&rows), expected);
        assert!(rows.iter().all(|row| row.header.status == status));
    }
    let rows = store
        .raids_by_member(player(1), Some(RaidStatus::Active), Some(raid(5)), 10)
        .await;
    assert_eq!(ids(&rows.expect("raids of")), [raid(2)]);
}

pub async fn a_raid_left_is_no_longer_listed(store: &dyn Store) {
    let owner = register_instance(store).await;
    let mut history = create_raid(store, 1, &owner, player(1)).await;
    create_raid(store, 2, &owner, player(1)).await;
    let append = history.append([joined(player(2)), left(player(1))]);
    assert_eq!(commit(store, &append).await, CommitOutcome::Committed);
    let of = async |who| {
        ids(&store
            .raids_by_member(player(who), None, None, 10)
            .await
            .expect("raids of"))
    };
    assert_eq!(of(1).await, [raid(2)]);
    assert_eq!(of(2).await, [raid(1)]);
    assert_eq!(
        commit(store, &history.append([joined(player(1))])).await,
        CommitOutcome::Committed
    );
    assert_eq!(of(1).await, [raid(2), raid(1)]);
}

pub async fn members_of_raids_are_counted_and_listed_by_joining(store: &dyn Store) {
    let owner = register_instance(store).await;
    let [ada, ben, cal, dan] = [
        create_player(store, "Ada").await,
        create_player(store, "Ben").await,
        create_player(store, "Cal").await,
        create_player(store, "Dan").await,
    ];
    let joined = |player, seconds: i64| {
        let mut data = joined(player);
        if let EventData::MemberJoined { joined_at, .. } = &mut data {
            *joined_at = CREATED_AT.plus(seconds * 1_000);
        }
        data
    };
    let mut one = create_raid(store, 1, &owner, dan).await;
    create_raid(store, 2, &owner, ada).await;
    create_raid(store, 3, &owner, cal).await;
    for data in [
        vec![joined(ben, 1)],
        vec![joined(ada, 2), joined(cal, 3)],
        vec![left(ben)],
    ] {
        let append = one.append(data);
        assert_eq!(commit(store, &append).await, CommitOutcome::Committed);
    }
    let members = async |limit| {
        let page = [raid(1), raid(2), raid(9)];
        let mut found = store.raid_members(&page, limit).await.expect("members");
        found.sort_by_key(|members| members.raid);
        let found = found.into_iter();
        found
            .map(|of| {
                let names = of.first.into_iter().map(|player| player.name);
                (of.raid, of.count, names.collect::<Vec<_>>().join(" "))
            })
            .collect::<Vec<_>>()
    };
    let expected = [
        (raid(1), 3, "Dan Ada Cal".to_owned()),
        (raid(2), 1, "Ada".to_owned()),
    ];
    assert_eq!(members(5).await, expected);
    assert_eq!(members(2).await[0], (raid(1), 3, "Dan Ada".to_owned()));
    // A member who joins again is listed by the later time.
    for data in [vec![left(dan)], vec![joined(dan, 5), joined(ben, 4)]] {
        let append = one.append(data);
        assert_eq!(commit(store, &append).await, CommitOutcome::Committed);
    }
    assert_eq!(members(5).await[0].2, "Ada Cal Ben Dan");
    assert_eq!(store.raid_members(&[], 5).await.expect("members"), []);
}
