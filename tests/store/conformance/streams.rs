//! Checks of players' streams.

use raidhall::store::{
    DueStreak, LoadedStream, OpHash, ProjectedPage, ProjectionOutcome, StoreError, StreamAppend,
    StreamEntry, StreamOutcome,
};
use raidhall_protocol::Seq;
use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::player::event::{
    Allowance, CorrectedField, CorrectionSource, RaidOutcome, RaidPlace, XpSource,
};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::state::Role;
use serde_json::json;

use super::erasures::erase;
use super::projection::{acquire, cause, failed_cause, page, project};
use super::*;
use crate::history::{completed_task, op, player, won};

/// Returns an append of events of these kinds after a seq, which saves the state.
pub fn stream_append<const N: usize>(
    player: PlayerId,
    after: u64,
    data: [PlayerEventData; N],
) -> StreamAppend {
    let numbered = (after + 1..).zip(data);
    let event = |(seq, data): (u64, PlayerEventData)| StreamEntry {
        event: PlayerEvent {
            seq: Seq(seq),
            at: NOW.plus(seq.cast_signed()),
            cause: None,
            data,
        },
        op: None,
    };
    StreamAppend {
        player,
        after: Seq(after),
        events: numbered.map(event).collect(),
        state: Some(format!("state {}", after + N as u64).into_bytes()),
        due_at: None,
        scores: Vec::new(),
    }
}

/// Returns the append with an op on its last event.
pub fn with_op(mut append: StreamAppend, op: OpHash) -> StreamAppend {
    let last = append.events.last_mut();
    last.expect("an event").op = Some(op);
    append
}

/// Returns an append's events as clients see them.
pub fn events_of(append: &StreamAppend) -> Vec<PlayerEvent> {
    let events = append.events.iter();
    events.map(|recorded| recorded.event.clone()).collect()
}

pub fn notified(kind: &str) -> PlayerEventData {
    PlayerEventData::Notified {
        kind: kind.to_owned(),
        data: json!({"title": "Hello", "n": [1, 2.5, null]}),
    }
}

pub fn renamed(name: &str) -> PlayerEventData {
    PlayerEventData::NameChanged {
        name: name.to_owned(),
    }
}

pub async fn append(store: &dyn Store, append: &StreamAppend) {
    let outcome = store.append_to_stream(append).await.expect("append");
    assert_eq!(outcome, StreamOutcome::Appended);
}

pub async fn load(store: &dyn Store, player: PlayerId, op: Option<OpHash>) -> LoadedStream {
    let loaded = store.load_stream(player, op).await.expect("load");
    loaded.expect("a stream")
}

pub async fn stream_events(store: &dyn Store, player: PlayerId) -> Vec<PlayerEvent> {
    let events = store.stream_events(player, Seq::ZERO, 1_000).await;
    events.expect("events")
}

/// Asserts that neither events nor a head of a player's stream are stored.
pub async fn assert_no_stream(store: &dyn Store, player: PlayerId) {
    assert_eq!(stream_events(store, player).await, []);
    let heads = store.stream_heads(&[player]).await.expect("heads");
    assert_eq!(heads, []);
}

pub async fn a_players_stream_is_empty_at_first(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let empty = LoadedStream {
        name: "Ada".into(),
        last_seq: Seq::ZERO,
        saved_state: None,
        tail: Vec::new(),
        op_seq: None,
    };
    assert_eq!(load(store, ada, Some(op("1"))).await, empty);
    assert_no_stream(store, ada).await;
}

pub async fn a_stream_is_loaded_as_its_saved_state_and_later_events(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let first = stream_append(ada, 0, [notified("a"), notified("b")]);
    append(store, &first).await;
    let saved = Some((Seq(2), b"state 2".to_vec()));
    let loaded = load(store, ada, None).await;
    assert_eq!((loaded.last_seq, &loaded.saved_state), (Seq(2), &saved));
    assert_eq!(loaded.tail, []);

    let mut second = stream_append(ada, 2, [notified("c"), notified("d")]);
    second.state = None;
    append(store, &second).await;
    let loaded = load(store, ada, None).await;
    assert_eq!((loaded.last_seq, loaded.saved_state), (Seq(4), saved));
    assert_eq!(loaded.tail, events_of(&second));

    append(store, &stream_append(ada, 4, [notified("e")])).await;
    let loaded = load(store, ada, None).await;
    let saved = Some((Seq(5), b"state 5".to_vec()));
    assert_eq!((loaded.last_seq, loaded.saved_state), (Seq(5), saved));
    assert_eq!(loaded.tail, []);
}

pub async fn events_of_a_stream_come_in_pages(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    let first = stream_append(ada, 0, ["a", "b", "c"].map(notified));
    let second = stream_append(ada, 3, ["d", "e"].map(notified));
    append(store, &first).await;
    append(store, &second).await;
    append(store, &stream_append(ben, 0, [notified("x")])).await;
    let all = [events_of(&first), events_of(&second)].concat();
    let page = async |after, limit| {
        let page = store.stream_events(ada, Seq(after), limit).await;
        page.expect("events")
    };
    assert_eq!(page(0, 2).await, all[..2]);
    assert_eq!(page(2, 2).await, all[2..4]);
    assert_eq!(page(4, 2).await, all[4..]);
    assert_eq!(page(5, 2).await, []);
    assert_eq!(page(u64::MAX, 2).await, []);
    assert_eq!(page(0, 100).await, all);
}

pub async fn an_op_is_found_in_the_whole_stream(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    for (after, name) in [(0, "1"), (2, "2"), (4, "3")] {
        let two = stream_append(ada, after, [notified("a"), notified("b")]);
        let mut two = with_op(two, op(name));
        two.state = two.state.filter(|_| after < 4);
        append(store, &two).await;
    }
    append(store, &stream_append(ben, 0, [notified("a")])).await;
    let found = async |player, name| load(store, player, Some(op(name))).await.op_seq;
    assert_eq!(found(ada, "1").await, Some(Seq(2)), "before the state");
    assert_eq!(found(ada, "2").await, Some(Seq(4)), "at the state");
    assert_eq!(found(ada, "3").await, Some(Seq(6)), "after the state");
    assert_eq!(found(ada, "4").await, None);
    assert_eq!(found(ben, "1").await, None, "of another player");
    assert_eq!(load(store, ada, None).await.op_seq, None);
}

pub async fn an_append_at_another_seq_writes_nothing(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let moved = async |append: &StreamAppend| {
        let outcome = store.append_to_stream(append).await.expect("append");
        assert_eq!(outcome, StreamOutcome::Moved);
    };
    moved(&stream_append(ada, 1, [renamed("Eve")])).await;
    assert_no_stream(store, ada).await;

    let first = stream_append(ada, 0, [notified("a"), notified("b")]);
    let first = with_op(first, op("1"));
    append(store, &first).await;
    let stored = load(store, ada, None).await;
    moved(&first).await;
    for after in [0, 1, 3] {
        let other = stream_append(ada, after, [notified("c"), renamed("Eve")]);
        moved(&with_op(other, op("2"))).await;
    }
    assert_eq!(load(store, ada, None).await, stored);
    assert_eq!(load(store, ada, Some(op("2"))).await.op_seq, None);
    assert_eq!(stream_events(store, ada).await, events_of(&first));
}

pub async fn a_repeated_op_refuses_an_append_to_a_stream(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    let with_op = |player, after, data| with_op(stream_append(player, after, [data]), op("1"));
    append(store, &with_op(ada, 0, notified("a"))).await;
    append(store, &with_op(ben, 0, notified("a"))).await;
    let repeated = with_op(ada, 1, renamed("Eve"));
    let refused = store.append_to_stream(&repeated).await;
    let is_refused = matches!(refused, Err(StoreError::Refused { .. }));
    assert!(is_refused, "{refused:?}");
    let loaded = load(store, ada, None).await;
    assert_eq!((loaded.name.as_str(), loaded.last_seq), ("Ada", Seq(1)));
}

pub async fn a_change_of_name_renames_the_player(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    let changes = [renamed("Bea"), notified("a"), renamed("Cyd"), notified("b")];
    append(store, &stream_append(ada, 0, changes)).await;
    append(store, &stream_append(ada, 4, [notified("c")])).await;
    let name = async |player| {
        let profile = store.player(player).await.expect("read").expect("a player");
        profile.name
    };
    assert_eq!(name(ada).await, "Cyd");
    assert_eq!(load(store, ada, None).await.name, "Cyd");
    append(store, &stream_append(ada, 5, [renamed("Dot")])).await;
    assert_eq!(name(ada).await, "Dot");
    assert_eq!(name(ben).await, "Ben");
}

pub async fn effects_of_raids_raise_the_players_totals(store: &dyn Store) {
    let owner = register_instance(store).await;
    let ada = create_player(store, "Ada").await;
    let mut history = create_raid(store, 1, &owner, ada).await;
    let done = history.append([completed_task(ada, 40), won(&[ada])]);
    assert_eq!(commit(store, &done).await, CommitOutcome::Committed);
    let totals = async || {
        let profile = store.player(ada).await.expect("read").expect("a player");
        (profile.xp, profile.tasks, profile.raids_won)
    };
    assert_eq!(totals().await, (0, 0, 0), "the raid's commit changes none");
    let earned = |earned_xp, tasks| PlayerEventData::XpEarned {
        amount: 1,
        counted: 1,
        earned_xp,
        xp: 3,
        tasks,
        source: XpSource::Contribution,
        allowance: None,
        happened_at: NOW,
        level_xp: 0,
        next_level_xp: 100,
        skill: None,
        skill_xp: None,
        skill_level: None,
        coins: 0,
        coins_earned: 0,
        note: None,
        counters: Vec::new(),
    };
    let ended = |raids_won| PlayerEventData::RaidEnded {
        raid: raid(1),
        outcome: RaidOutcome::Completed,
        rank: Some(1),
        xp: 40,
        happened_at: NOW,
        raids_played: 9,
        raids_won,
        counters: Vec::new(),
    };
    let effects = [earned(20, 1), earned(40, 2), ended(1), notified("a")];
    append(store, &stream_append(ada, 0, effects)).await;
    assert_eq!(totals().await, (40, 2, 1));
    append(store, &stream_append(ada, 4, [notified("b")])).await;
    append(store, &stream_append(ada, 5, [earned(30, 1), ended(0)])).await;
    assert_eq!(totals().await, (40, 2, 1), "totals never go down");
    append(store, &stream_append(ada, 7, [ended(2)])).await;
    append(store, &stream_append(ada, 8, [earned(41, 3)])).await;
    assert_eq!(totals().await, (41, 3, 2));
    let corrected = |field, to| PlayerEventData::Corrected {
        field,
        from: 5,
        to,
        by: CorrectionSource::Rebuild,
        note: "wrong".into(),
    };
    let corrections = [
        corrected(CorrectedField::EarnedXp, 39),
        corrected(CorrectedField::Xp, 1),
        corrected(CorrectedField::RaidsWon, 1),
    ];
    append(store, &stream_append(ada, 9, corrections)).await;
    assert_eq!(totals().await, (39, 3, 1), "except by a correction");
}

pub async fn a_missing_or_erased_player_has_no_stream(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    append(store, &stream_append(ada, 0, [notified("a")])).await;
    erase(store, ada).await;
    for absent in [ada, player(12_345)] {
        let loaded = store.load_stream(absent, None).await.expect("load");
        assert_eq!(loaded, None);
        for after in [0, 1] {
            let append = stream_append(absent, after, [renamed("Eve")]);
            let outcome = store.append_to_stream(&append).await.expect("append");
            assert_eq!(outcome, StreamOutcome::Gone);
        }
        assert_no_stream(store, absent).await;
    }
}

pub async fn heads_of_streams_leave_empty_ones_out(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let ben = create_player(store, "Ben").await;
    let cyd = create_player(store, "Cyd").await;
    append(store, &stream_append(ada, 0, ["a", "b"].map(notified))).await;
    append(store, &stream_append(cyd, 0, [notified("a")])).await;
    let heads = async |players: &[PlayerId]| {
        let mut heads = store.stream_heads(players).await.expect("heads");
        heads.sort_unstable();
        heads
    };
    let all = heads(&[cyd, ben, player(12_345), ada]).await;
    assert_eq!(all, [(ada, Seq(2)), (cyd, Seq(1))]);
    assert_eq!(heads(&[ben]).await, []);
    assert_eq!(heads(&[]).await, []);
}

pub async fn every_kind_of_player_event_survives_a_round_trip(store: &dyn Store) {
    let ada = create_player(store, "Ada").await;
    let setting = |value| PlayerEventData::SettingSet {
        key: "app.deck".to_owned(),
        value,
        version: 7,
        lapses_at: None,
    };
    let mut all = stream_append(
        ada,
        0,
        [
            setting(json!({"b": [1, -2, 0.5, 1e-7, true, null, ""], "a": {"\"": "\\ \n ☂"}})),
            setting(json!("text")),
            setting(json!(null)),
            setting(json!(u64::MAX)),
            renamed("Zoë \"quote\" \\ 🔥"),
            notified("sale"),
            PlayerEventData::ReadThrough { seq: Seq(6) },
            PlayerEventData::Corrected {
                field: CorrectedField::RaidsWon,
                from: u64::MAX,
                to: 3,
                by: CorrectionSource::Operator,
                note: "event 4: \"xp\"".to_owned(),
            },
            PlayerEventData::XpEarned {
                amount: 1,
                counted: 2,
                earned_xp: 3,
                xp: 4,
                tasks: u64::MAX,
                source: XpSource::Contribution,
                allowance: Some(Allowance {
                    ranked: true,
                    used: 5,
                    since: NOW,
                }),
                happened_at: NOW,
                level_xp: 0,
                next_level_xp: 100,
                skill: None,
                skill_xp: None,
                skill_level: None,
                coins: 0,
                coins_earned: 0,
                note: None,
                counters: Vec::new(),
            },
            PlayerEventData::RaidJoined {
                raid: raid(7),
                role: Role::Leader,
                counters: Vec::new(),
            },
            PlayerEventData::RaidLeft {
                raid: raid(7),
                reason: LeaveReason::Kicked,
            },
            PlayerEventData::RaidEnded {
                raid: raid(7),
                outcome: RaidOutcome::Completed,
                rank: None,
                xp: 6,
                happened_at: NOW,
                raids_played: 7,
                raids_won: 8,
                counters: Vec::new(),
            },
            PlayerEventData::DayKept {
                day: "2026-11-28".to_owned(),
                zone: "Asia/Tashkent".to_owned(),
                days: 9,
                best: 10,
                freezes: 1,
                since: NOW,
                lapses_at: NOW.plus(1),
            },
            PlayerEventData::StreakFrozen {
                days_frozen: 1,
                freezes: 0,
                lapses_at: NOW.plus(2),
            },
            PlayerEventData::StreakLost {
                days: 9,
                repairable_days: 9,
                repairable_from: Some(NOW),
                repairable_until: None,
            },
            PlayerEventData::StreakRepaired {
                days: 9,
                best: 10,
                freezes: 1,
                cost: 100,
                since: Some(NOW),
                lapses_at: NOW.plus(3),
            },
        ],
    );
    all.events[5].event.cause = Some(RaidPlace {
        raid: raid(7),
        seq: Seq(124),
    });
    append(store, &all).await;
    assert_eq!(stream_events(store, ada).await, events_of(&all));
    let mut more = all.clone();
    more.after = all.last_seq();
    more.state = None;
    for recorded in &mut more.events {
        recorded.event.seq = Seq(recorded.event.seq.0 + all.last_seq().0);
    }
    append(store, &more).await;
    assert_eq!(load(store, ada, None).await.tail, events_of(&more));
}

pub async fn players_with_streams_come_in_pages(store: &dyn Store) {
    let mut players = Vec::new();
    for name in ["Ada", "Bob", "Cyd", "Dan", "Eve"] {
        let profile = store.create_player(name).await.expect("a player");
        players.push(profile.id);
    }
    let [ada, _, cyd, dan, eve] = players[..] else {
        unreachable!()
    };
    for player in [ada, cyd, dan, eve] {
        append(store, &stream_append(player, 0, [notified("first")])).await;
    }
    erase(store, dan).await;
    for (after, limit, expected) in [
        (None, 2, vec![ada, cyd]),
        (Some(cyd), 2, vec![eve]),
        (Some(eve), 2, vec![]),
    ] {
        let page = store.players_with_streams(after, limit).await;
        assert_eq!(page.expect("players"), expected);
    }
}

/// Returns an append of one event behind which something is due for the streak then.
fn streak_append(player: PlayerId, after: u64, due_at: Option<UnixMillis>) -> StreamAppend {
    StreamAppend {
        due_at,
        ..stream_append(player, after, [notified("first")])
    }
}

async fn due(
    store: &dyn Store,
    until: UnixMillis,
    after: Option<DueStreak>,
    limit: u32,
) -> Vec<DueStreak> {
    let due = store.due_streaks(until, after, limit).await;
    due.expect("due streaks")
}

pub async fn due_streaks_come_in_the_order_of_their_moments(store: &dyn Store) {
    let mut players = Vec::new();
    for name in ["Ada", "Bob", "Cyd", "Dan", "Eve", "Fay"] {
        players.push(store.create_player(name).await.expect("a player").id);
    }
    let ends = [Some(3), Some(2), Some(2), None, Some(4), Some(1)];
    for (player, end) in players.iter().zip(ends) {
        let due_at = end.map(|end| NOW.plus(end));
        append(store, &streak_append(*player, 0, due_at)).await;
    }
    erase(store, players[5]).await;
    let streak = |index: usize, end| DueStreak {
        due_at: NOW.plus(end),
        player: players[index],
    };
    let [first, second, third] = [streak(1, 2), streak(2, 2), streak(0, 3)];
    let until = NOW.plus(3);
    assert_eq!(due(store, until, None, 10).await, [first, second, third]);
    assert_eq!(due(store, until, None, 1).await, [first]);
    assert_eq!(due(store, until, Some(first), 1).await, [second]);
    assert_eq!(due(store, until, Some(second), 9).await, [third]);
    assert_eq!(due(store, NOW.plus(2), Some(second), 9).await, []);
    let failed = failed_cause(players[1], cause(7, 1));
    let owner = register_instance(store).await;
    let from = acquire(store, owner.id).await;
    let faults = ProjectedPage {
        failed: vec![failed],
        ..page(from, [])
    };
    let written = project(store, owner.id, &faults).await;
    assert_eq!(written, ProjectionOutcome::Committed);
    assert_eq!(due(store, until, None, 10).await, [second, third]);
}

pub async fn a_stream_has_what_is_due_after_each_append(store: &dyn Store) {
    let player = store.create_player("Ada").await.expect("a player").id;
    for (after, end) in [(0, Some(5)), (1, Some(4)), (2, None), (3, Some(9))] {
        let due_at = end.map(|end| NOW.plus(end));
        let mut streak = streak_append(player, after, due_at);
        if after > 1 {
            streak.state = None;
        }
        append(store, &streak).await;
        let expected = due_at.map(|due_at| DueStreak { due_at, player });
        let found = due(store, NOW.plus(10), None, 10).await;
        assert_eq!(found, Vec::from_iter(expected));
    }
    let due_at = NOW.plus(7);
    let moved = StreamAppend {
        events: Vec::new(),
        state: None,
        ..streak_append(player, 4, Some(due_at))
    };
    append(store, &moved).await;
    let found = due(store, NOW.plus(10), None, 10).await;
    assert_eq!(found, [DueStreak { due_at, player }]);
    let heads = store.stream_heads(&[player]).await;
    assert_eq!(heads.expect("heads"), [(player, Seq(4))]);
}
