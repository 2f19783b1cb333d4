//! Tests of the fold against states written by hand from the protocol's specification.

use raidhall_loadtest::fold::{Contradiction, Fold};
use raidhall_protocol::event::{FailReason, LeaderReason, LeaveReason};
use raidhall_protocol::state::{Rank, Role};
use raidhall_protocol::{Event, EventData, RaidState, Seq, UnixMillis};
use serde_json::{Value, json};

use crate::sample_case::{created, event, history, joined, player, raid, task};

/// Returns the state after the events as JSON, and checks that it survives both codecs.
fn fold_to_json(events: &[Event]) -> Value {
    let fold = Fold::from_events(raid(), events).unwrap();
    assert_eq!(fold.seq(), events.last().unwrap().seq);
    let state = fold.state().unwrap();
    for codec in raidhall_protocol::Codec::ALL {
        assert_eq!(
            codec.decode::<RaidState>(&codec.encode(state)).unwrap(),
            *state
        );
    }
    serde_json::to_value(state).unwrap()
}

fn assert_fields(state: &Value, pointers: &[(&str, Value)]) {
    for (pointer, expected) in pointers {
        assert_eq!(state.pointer(pointer), Some(expected), "{pointer}");
    }
}

const T: i64 = 1_767_225_600_000;

#[test]
fn a_full_history_folds_to_the_documented_state() {
    let expected = json!({
        "id": 7, "title": "Ship it", "description": null, "invite_code": "K7MQ2XNB",
        "status": "active", "reason": null, "target_xp": 500, "target_tasks": 10,
        "current_xp": 40, "current_tasks": 1, "max_members": 4, "late_join": false,
        "ranked": false, "time_limit_secs": 86400, "created_at": T + 1000, "started_at": T + 4000,
        "deadline": 1_767_312_004_000_i64, "ended_at": null, "leader": 5, "term": 1,
        "members": [
            {"player": 5, "name": "Ada", "role": "leader", "xp": 0, "tasks": 0, "energy": 100,
             "energy_at": 1, "joined_at": 1, "muted_until": null},
            {"player": 6, "name": "Ben", "role": "member", "xp": 40, "tasks": 1, "energy": 95,
             "energy_at": T + 7000, "joined_at": 2, "muted_until": null}],
        "tasks": [{"id": 1, "title": "Fix", "xp": 40, "minutes": 25, "status": "completed", "assignee": 6,
                   "by": 5, "edited_by": null, "claimed_at": T + 6000, "ended_at": T + 7000}],
        "messages": [{"seq": 8, "by": 5, "text": "well done", "at": T + 8000}],
        "ranking": null
    });
    assert_eq!(fold_to_json(&history()), expected);
}

#[test]
fn releasing_failing_or_leaving_reopens_a_claimed_task() {
    let claimed = || EventData::TaskClaimed {
        task: task(1),
        player: player(6),
        energy: 90,
    };
    let left = EventData::MemberLeft {
        player: player(6),
        reason: LeaveReason::Left,
        released: vec![task(1)],
    };
    for (data, energy) in [
        (
            EventData::TaskReleased {
                task: task(1),
                player: player(6),
            },
            Some((90, T + 6000)),
        ),
        (
            EventData::TaskFailed {
                task: task(1),
                player: player(6),
                energy: 75,
            },
            Some((75, T + 7000)),
        ),
        (left, None),
    ] {
        let mut events = history()[..5].to_vec();
        events.push(event(6, 6, claimed()));
        assert_fields(
            &fold_to_json(&events),
            &[
                ("/tasks/0/status", json!("claimed")),
                ("/tasks/0/claimed_at", json!(T + 6000)),
            ],
        );
        events.push(event(7, 6, data));
        let state = fold_to_json(&events);
        assert_fields(
            &state,
            &[
                ("/tasks/0/status", json!("open")),
                ("/tasks/0/assignee", json!(null)),
                ("/tasks/0/claimed_at", json!(null)),
                ("/tasks/0/ended_at", json!(null)),
            ],
        );
        match energy {
            Some((energy, at)) => {
                assert_fields(
                    &state,
                    &[
                        ("/members/1/energy", json!(energy)),
                        ("/members/1/energy_at", json!(at)),
                    ],
                );
            }
            None => assert_eq!(state["members"].as_array().unwrap().len(), 1),
        }
    }
}

#[test]
fn a_leader_change_swaps_the_roles_of_both_members() {
    let mut events = history()[..4].to_vec();
    let change = |previous, player, reason, term| EventData::LeaderChanged {
        player,
        previous,
        reason,
        term,
    };
    events.push(event(
        5,
        5,
        change(player(5), player(6), LeaderReason::Promoted, 2),
    ));
    assert_fields(
        &fold_to_json(&events),
        &[
            ("/leader", json!(6)),
            ("/term", json!(2)),
            ("/members/0/role", json!("member")),
            ("/members/1/role", json!("leader")),
        ],
    );
    let left = EventData::MemberLeft {
        player: player(6),
        reason: LeaveReason::Left,
        released: vec![],
    };
    events.push(event(6, 6, left));
    events.push(event(
        7,
        6,
        change(player(6), player(5), LeaderReason::Left, 3),
    ));
    assert_fields(
        &fold_to_json(&events),
        &[
            ("/leader", json!(5)),
            ("/term", json!(3)),
            ("/members/0/role", json!("leader")),
        ],
    );
    let left = EventData::MemberLeft {
        player: player(5),
        reason: LeaveReason::Left,
        released: vec![],
    };
    events.push(event(8, 5, left));
    events.push(event(
        9,
        5,
        EventData::RaidFailed {
            reason: FailReason::Abandoned,
        },
    ));
    assert_fields(
        &fold_to_json(&events),
        &[
            ("/leader", json!(null)),
            ("/members", json!([])),
            ("/status", json!("failed")),
            ("/reason", json!("abandoned")),
            ("/ended_at", json!(T + 9000)),
        ],
    );
}

#[test]
fn contributions_and_completion_are_folded_as_reported() {
    let mut events = history();
    let contributed = EventData::Contributed {
        player: player(5),
        xp: 460,
        kind: "bonus".to_owned(),
        note: None,
        member_xp: 460,
        member_tasks: 1,
        current_xp: 500,
        current_tasks: 2,
    };
    events.push(Event {
        by: None,
        ..event(9, 5, contributed)
    });
    let rank = |id, name: &str, xp, rank| Rank {
        player: player(id),
        name: name.to_owned(),
        xp,
        tasks: 1,
        rank,
    };
    let ranking = vec![rank(5, "Ada", 460, 1), rank(6, "Ben", 40, 2)];
    events.push(Event {
        by: None,
        ..event(10, 5, EventData::RaidCompleted { ranking })
    });
    events.push(event(
        11,
        6,
        EventData::Said {
            text: "gg".to_owned(),
        },
    ));
    assert_fields(
        &fold_to_json(&events),
        &[
            ("/current_xp", json!(500)),
            ("/current_tasks", json!(2)),
            ("/members/0/xp", json!(460)),
            ("/members/0/energy_at", json!(1)),
            ("/status", json!("completed")),
            ("/ended_at", json!(T + 10_000)),
            ("/ranking/0/player", json!(5)),
            ("/messages/1/text", json!("gg")),
        ],
    );
}

#[test]
fn only_the_latest_fifty_messages_are_shown() {
    let mut events = history()[..3].to_vec();
    for seq in 4..=60 {
        events.push(event(
            seq,
            6,
            EventData::Said {
                text: seq.to_string(),
            },
        ));
    }
    let state = fold_to_json(&events);
    assert_eq!(state["messages"].as_array().unwrap().len(), 50);
    assert_fields(
        &state,
        &[
            ("/messages/0/text", json!("11")),
            ("/messages/49/seq", json!(60)),
        ],
    );
}

#[test]
fn a_returning_member_is_listed_last_with_earlier_xp_and_energy() {
    let mut events = history();
    let left = EventData::MemberLeft {
        player: player(6),
        reason: LeaveReason::Left,
        released: vec![],
    };
    events.push(event(9, 6, left));
    let mut back = joined(6, "Ben", Role::Member, 77);
    if let EventData::MemberJoined {
        xp, tasks, energy, ..
    } = &mut back
    {
        *xp = 40;
        *tasks = 1;
        *energy = 96;
    }
    events.push(event(10, 6, back));
    assert_fields(
        &fold_to_json(&events),
        &[
            ("/members/1/player", json!(6)),
            ("/members/1/xp", json!(40)),
            ("/members/1/energy", json!(96)),
            ("/members/1/joined_at", json!(77)),
        ],
    );
}

#[test]
fn a_snapshot_and_its_tail_fold_to_the_same_state_as_all_events() {
    let events = history();
    let whole = Fold::from_events(raid(), &events).unwrap();
    for cut in 1..events.len() {
        let head = Fold::from_events(raid(), &events[..cut]).unwrap();
        let mut fold = Fold::from_snapshot(raid(), head.seq(), head.state().unwrap().clone());
        for event in &events[cut..] {
            fold.apply(event).unwrap();
        }
        assert_eq!(fold, whole);
    }
}

#[test]
fn an_erasure_removes_the_players_name_and_texts_from_the_state() {
    let mut events = history();
    let rank = |id, name: &str, rank| Rank {
        player: player(id),
        name: name.to_owned(),
        xp: 1,
        tasks: 1,
        rank,
    };
    events.push(event(
        9,
        5,
        EventData::Said {
            text: "mine".to_owned(),
        },
    ));
    events.push(event(
        10,
        6,
        EventData::Said {
            text: "ours".to_owned(),
        },
    ));
    let ranking = vec![rank(5, "Ada", 1), rank(6, "Ben", 2)];
    events.push(Event {
        by: None,
        ..event(11, 5, EventData::RaidCompleted { ranking })
    });
    let text = "[erased]".to_owned();
    events.push(event(
        12,
        5,
        EventData::PlayerErased {
            player: player(5),
            text,
            made_raid: true,
        },
    ));
    let state = json!(fold_to_json(&events));
    let json = state.to_string();
    assert!(
        !json.contains("Ada") && !json.contains("mine") && json.contains("Ben"),
        "{json}"
    );
    assert_eq!(
        (&state["title"], &state["description"]),
        (&json!("[erased]"), &json!(null))
    );
    let said = state["messages"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|said| said["text"].as_str().unwrap());
    assert_eq!(said.take(2).collect::<Vec<_>>(), ["ours", "[erased]"]);
}

#[test]
fn edits_removals_mutes_and_a_new_code_change_only_what_they_name() {
    let mut events = history();
    let until = Some(UnixMillis(T + 60_000));
    let muted = |until| EventData::MemberMuted {
        player: player(6),
        until,
    };
    let added = |id| EventData::TaskAdded {
        task: task(id),
        title: "Mop".to_owned(),
        xp: 1,
        minutes: 5,
    };
    let edited = |title: Option<&str>, minutes| EventData::TaskEdited {
        task: task(3),
        author: Some(player(6)),
        title: title.map(str::to_owned),
        minutes,
    };
    let rotated = EventData::InviteRotated {
        invite_code: "7XNBK2QM".to_owned(),
    };
    for (by, data) in [
        (5, muted(until)),
        (6, added(2)),
        (6, added(3)),
        (5, edited(Some("Mop it"), None)),
        (6, edited(None, Some(0))),
        (6, EventData::TaskRemoved { task: task(2) }),
        (5, rotated),
    ] {
        events.push(event(events.len() as u64 + 1, by, data));
    }
    let by_host_app = event(events.len() as u64 + 1, 5, added(4));
    events.push(Event {
        by: None,
        ..by_host_app
    });
    let state = fold_to_json(&events);
    assert_eq!(state["tasks"].as_array().unwrap().len(), 3);
    assert_eq!(state["tasks"][2]["by"], json!(null));
    assert_fields(
        &state,
        &[
            ("/tasks/1/id", json!(3)),
            ("/tasks/1/title", json!("Mop it")),
            ("/tasks/1/minutes", json!(0)),
            ("/tasks/1/by", json!(6)),
            ("/tasks/1/edited_by", json!(5)),
            ("/invite_code", json!("7XNBK2QM")),
        ],
    );
    let of_ben = |state: &serde_json::Value| {
        let members = state["members"].as_array().unwrap();
        let ben = members.iter().find(|member| member["player"] == 6);
        ben.unwrap()["muted_until"].clone()
    };
    assert_eq!(of_ben(&state), json!(T + 60_000));
    let leads = EventData::LeaderChanged {
        player: player(6),
        previous: player(5),
        reason: LeaderReason::Promoted,
        term: 2,
    };
    events.push(event(events.len() as u64 + 1, 5, leads));
    assert_eq!(of_ben(&fold_to_json(&events)), json!(null));
}

#[test]
fn a_contradictory_event_is_reported_and_changes_nothing() {
    let base = Fold::from_events(raid(), &history()).unwrap();
    let said = || EventData::Said {
        text: "x".to_owned(),
    };
    for (event, why) in [
        (
            event(8, 5, said()),
            Contradiction::NotNext {
                held: Seq(8),
                got: Seq(8),
            },
        ),
        (
            event(10, 5, said()),
            Contradiction::NotNext {
                held: Seq(8),
                got: Seq(10),
            },
        ),
        (event(9, 5, created()), Contradiction::MisplacedCreation),
        (
            event(9, 6, joined(6, "Ben", Role::Member, 9)),
            Contradiction::DuplicateMember(player(6)),
        ),
        (
            event(
                9,
                6,
                EventData::TaskClaimed {
                    task: task(2),
                    player: player(6),
                    energy: 1,
                },
            ),
            Contradiction::UnknownTask(task(2)),
        ),
        (
            event(
                9,
                8,
                EventData::TaskClaimed {
                    task: task(1),
                    player: player(8),
                    energy: 1,
                },
            ),
            Contradiction::NotAMember(player(8)),
        ),
        (
            Event {
                by: None,
                ..event(9, 5, said())
            },
            Contradiction::MissingPlayer,
        ),
    ] {
        let mut fold = base.clone();
        assert_eq!(fold.apply(&event), Err(why));
        assert_eq!(fold, base);
    }
    let mut ended = base;
    ended
        .apply(&event(
            9,
            5,
            EventData::RaidFailed {
                reason: FailReason::Cancelled,
            },
        ))
        .unwrap();
    let erased = EventData::PlayerErased {
        player: player(5),
        text: "[erased]".into(),
        made_raid: true,
    };
    assert_eq!(ended.clone().apply(&event(10, 5, erased)), Ok(()));
    let deadline = UnixMillis(0);
    assert_eq!(
        ended.apply(&event(10, 5, EventData::RaidStarted { deadline })),
        Err(Contradiction::Ended)
    );
    assert_eq!(ended.apply(&event(10, 5, said())), Ok(()));
    assert_eq!(
        Fold::new(raid()).apply(&event(1, 5, said())),
        Err(Contradiction::MisplacedCreation)
    );
}
