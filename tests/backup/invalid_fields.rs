//! Undamaged files in which one field is out of its range, too long, or holds a control character:
//! each is refused.

use raidhall::backup::BackupError;
use raidhall::store::backup::{AuditLine, BanLine, EventLine, PlayerEventLine};
use serde_json::{Value, json};

use crate::backup_contents::BackupContents;
use crate::backup_database::{BackupDatabase, export_to_file};
use crate::raid_generator::fill_store;

const ID_MAX: i64 = 1 << 52;
const FAR_TIME: i64 = 1 << 62;

async fn sample_contents() -> BackupContents {
    let database = BackupDatabase::sqlite();
    fill_store(database.store().await.as_ref(), 16, 120, 9).await;
    let (file, _) = database.export().await;
    let (mut contents, _) = BackupContents::read(&file).await.expect("a good file");
    contents.bans.push(BanLine {
        player: 2,
        reason: "spam".into(),
        by: "admin:ops".into(),
        at: 5,
    });
    contents.audit_entries.push(AuditLine {
        id: 0,
        at: 5,
        actor: "admin:ops".into(),
        action: "ban".into(),
        target: "player 2".into(),
        request_id: "r-1".into(),
        details: json!({"reason": "spam"}),
    });
    correct_player_1(&mut contents);
    contents
}

/// Appends a correction to the stream of player 1.
fn correct_player_1(contents: &mut BackupContents) {
    let events = &mut contents.player_events;
    let is_own = |event: &PlayerEventLine| event.player == 1;
    let last = events.iter().rposition(is_own).expect("a stream");
    let correction = PlayerEventLine {
        seq: events[last].seq + 1,
        kind: "corrected".into(),
        op_key: None,
        cause_raid: None,
        cause_seq: None,
        data: json!({"field": "xp", "from": 7, "to": 5, "by": "rebuild", "note": "counted twice"}),
        ..events[last].clone()
    };
    events.insert(last + 1, correction);
    let mut streams = contents.streams.iter_mut();
    let stream = streams.find(|stream| stream.player == 1);
    stream.expect("a stream").last_seq += 1;
}

async fn import_error(contents: &mut BackupContents) -> Option<String> {
    let (file, _) = export_to_file(contents).await;
    match BackupContents::read(&file).await {
        Ok(_) => None,
        Err(error @ BackupError::Invalid { .. }) => Some(error.to_string()),
        Err(other) => panic!("{other:?}"),
    }
}

type Alter = Box<dyn Fn(&mut BackupContents)>;

fn case(
    expected: &'static str,
    alter: impl Fn(&mut BackupContents) + 'static,
) -> (&'static str, Alter) {
    (expected, Box::new(alter))
}

/// A case that sets a field in the data of the last event of a kind.
fn event_case(
    kind: &'static str,
    field: &'static str,
    value: impl Into<Value>,
) -> (&'static str, Alter) {
    let value = value.into();
    case(field, move |contents| {
        let is_kind = |event: &&mut EventLine| event.kind == kind;
        let event = contents.events.iter_mut().rev().find(is_kind);
        let event = event.unwrap_or_else(|| panic!("no {kind} in the sample"));
        event.data[field] = value.clone();
    })
}

/// A case that alters the last edit of a task.
fn last_edit_case(
    expected: &'static str,
    alter: impl Fn(&mut EventLine) + 'static,
) -> (&'static str, Alter) {
    case(expected, move |contents| {
        let mut events = contents.events.iter_mut().rev();
        let edit = events.find(|event| event.kind == "task_edited");
        alter(edit.expect("an edit in the sample"));
    })
}

/// A case that has another event in place of the last chat message.
fn instead_of_chat(
    expected: &'static str,
    kind: &'static str,
    data: Value,
) -> (&'static str, Alter) {
    case(expected, move |contents| {
        let is_chat = |event: &&mut EventLine| event.kind == "said";
        let event = contents
            .events
            .iter_mut()
            .rev()
            .find(is_chat)
            .expect("chat");
        event.kind = kind.into();
        event.data = data.clone();
    })
}

fn line_cases() -> Vec<(&'static str, Alter)> {
    let escape = || "\u{1b}[2J".to_owned();
    vec![
        case("lineage: ", move |c| c.lineage = escape()),
        case("lineage: ", |c| c.lineage = "x".repeat(100_000)),
        case("boards_since: ", |c| c.boards_since = FAR_TIME),
        case("boards_final_until: ", |c| {
            c.boards_final_until = FAR_TIME;
        }),
        case("board: ", |c| c.board_scores[0].board = "x".repeat(300)),
        case("number: ", |c| c.board_scores[0].number = i64::MIN),
        case("score: ", |c| c.board_scores[0].score = -1),
        case("reached_at: ", |c| c.board_scores[0].reached_at = FAR_TIME),
        case("reached_raid: ", |c| c.board_scores[0].reached_raid = 0),
        case("reached_seq: ", |c| c.board_scores[0].reached_seq = -1),
        case("id: ", |c| {
            c.players.last_mut().expect("players").id = i64::MAX
        }),
        case("player 1: name: ", |c| {
            c.players[0].name = "x".repeat(100_000)
        }),
        case("player 1: name: ", move |c| c.players[0].name = escape()),
        case("player 1: name: ", |c| c.players[0].name.clear()),
        case("player 1: xp: ", |c| c.players[0].xp = i64::MAX),
        case("player 1: tasks: ", |c| c.players[0].tasks = -1),
        case("player 1: raids_won: ", |c| {
            c.players[0].raids_won = i64::MAX
        }),
        case("player 1: created_at: ", |c| {
            c.players[0].created_at = FAR_TIME
        }),
        case("player 1: external_id: ", |c| {
            c.players[0].external_id = Some("x".repeat(5_000))
        }),
        case("player 1: external_id: ", move |c| {
            c.players[0].external_id = Some(escape())
        }),
        case("player 1: erased_at: ", |c| {
            c.players[0].erased_at = Some(FAR_TIME)
        }),
        case("id: ", |c| c.raids.last_mut().expect("raids").id = i64::MAX),
        case("raid 1: born: ", |c| c.raids[0].born = i32::MAX),
        case("raid 1: create_key: ", |c| {
            c.raids[0].create_key = Some("zz".into())
        }),
        case("raid 1: epoch: ", |c| c.raids[0].epoch = i64::MAX),
        case("raid 1: event 1: at: ", |c| c.events[0].at = FAR_TIME),
        case("raid 1: event 1: at: ", |c| c.events[0].at = -1),
        case("raid 1: event 1: by: ", |c| c.events[0].by = Some(i64::MAX)),
        case("raid 1: event 1: version: ", |c| c.events[0].version = 0),
        case("raid 1: event 1: definitions: ", |c| {
            c.events[0].definitions = Some(0)
        }),
        case("raid 1: event 1: definitions: ", |c| {
            c.events[0].definitions = Some(99)
        }),
        case("number: ", |c| c.definitions[1].number = 3),
        case("hash: ", |c| c.definitions[1].body.push('.')),
        case("applied_at: ", |c| c.definitions[0].applied_at = FAR_TIME),
        case("raid 1: event 1: op_key: ", |c| {
            c.events[0].op_key = Some("ab".into())
        }),
        case("raid 1: event 1: more: ", |c| {
            c.events[0].data["more"] = json!("x".repeat(100_000))
        }),
        case("id: ", |c| {
            c.sign_ins.last_mut().expect("sign-ins").id = "ff".repeat(17)
        }),
        case("player: ", |c| c.sign_ins[0].player = i64::MAX),
        case("current: ", |c| c.sign_ins[0].current = "0".repeat(100_000)),
        case("previous: ", |c| {
            c.sign_ins[0].previous = Some("ABCD".into())
        }),
        case("rotated_at: ", |c| c.sign_ins[0].rotated_at = FAR_TIME),
        case("expires_at: ", |c| c.sign_ins[0].expires_at = FAR_TIME),
        case("player: ", |c| c.bans[0].player = i64::MAX),
        case("reason: ", move |c| c.bans[0].reason = escape()),
        case("reason: ", |c| c.bans[0].reason = "x".repeat(501)),
        case("by: ", move |c| c.bans[0].by = escape()),
        case("at: ", |c| c.bans[0].at = FAR_TIME),
        case("at: ", |c| c.audit_entries[0].at = FAR_TIME),
        case("actor: ", move |c| c.audit_entries[0].actor = escape()),
        case("action: ", |c| c.audit_entries[0].action = "x".repeat(300)),
        case("target: ", move |c| c.audit_entries[0].target = escape()),
        case("request_id: ", move |c| {
            c.audit_entries[0].request_id = escape()
        }),
        case("details: ", |c| {
            c.audit_entries[0].details = json!("x".repeat(100_000))
        }),
        case("details: ", |c| {
            c.audit_entries[0].details = json!([{"a\u{7f}": 1}])
        }),
        case("players: ", |c| c.ids.players = ID_MAX + 1),
        case("raids: ", |c| c.ids.raids = i64::MAX),
    ]
}

fn event_cases() -> Vec<(&'static str, Alter)> {
    let long = || "x".repeat(1_000_000);
    let escape = || "a\u{1b}b";
    let huge = 1_u64 << 60;
    vec![
        event_case("raid_created", "title", long()),
        event_case("raid_created", "title", escape()),
        event_case("raid_created", "description", long()),
        event_case("raid_created", "invite_code", long()),
        event_case("raid_created", "target_xp", huge),
        event_case("raid_created", "target_tasks", huge),
        event_case("raid_created", "time_limit_secs", huge),
        event_case("raid_created", "max_members", 101),
        event_case("member_joined", "player", (1_u64 << 53) - 1),
        event_case("member_joined", "name", long()),
        event_case("member_joined", "name", escape()),
        event_case("member_joined", "xp", huge),
        event_case("member_joined", "tasks", huge),
        event_case("member_joined", "energy", 101),
        event_case("member_joined", "energy_at", FAR_TIME),
        event_case("member_joined", "joined_at", FAR_TIME),
        event_case("member_left", "player", (1_u64 << 53) - 1),
        event_case("member_left", "released", json!(vec![1; 501])),
        event_case("leader_changed", "player", (1_u64 << 53) - 1),
        event_case("leader_changed", "previous", (1_u64 << 53) - 1),
        event_case("leader_changed", "term", huge),
        event_case("raid_started", "deadline", FAR_TIME),
        event_case("task_added", "task", 400),
        event_case("task_added", "title", long()),
        event_case("task_added", "xp", 1_001),
        event_case("task_added", "minutes", 481),
        event_case("task_claimed", "energy", 101),
        event_case("task_claimed", "task", (1_u64 << 53) - 1),
        event_case("task_edited", "task", (1_u64 << 53) - 1),
        event_case("task_edited", "author", (1_u64 << 53) - 1),
        event_case("task_edited", "author", 1_000),
        last_edit_case("by: ", |event| event.by = None),
        last_edit_case("title: ", |event| {
            event.data = json!({"task": event.data["task"], "author": event.data["author"]});
        }),
        last_edit_case("task: ", |event| event.data["task"] = json!(1_000_000)),
        event_case("task_edited", "title", long()),
        event_case("task_edited", "title", escape()),
        event_case("task_edited", "minutes", 481),
        event_case("task_removed", "task", (1_u64 << 53) - 1),
        event_case("member_muted", "player", (1_u64 << 53) - 1),
        event_case("member_muted", "until", FAR_TIME),
        event_case("invite_rotated", "invite_code", long()),
        event_case("invite_rotated", "invite_code", escape()),
        event_case("task_failed", "energy", 101),
        event_case("task_completed", "xp", 1_001),
        event_case("task_completed", "energy", 101),
        event_case("task_completed", "member_xp", huge),
        event_case("task_completed", "current_xp", huge),
        event_case("contributed", "xp", 10_001),
        event_case("contributed", "kind", long()),
        event_case("contributed", "note", long()),
        event_case("contributed", "note", escape()),
        event_case("contributed", "member_tasks", huge),
        event_case("contributed", "current_tasks", huge),
        event_case("said", "text", long()),
        event_case("said", "text", escape()),
        instead_of_chat(
            "ranking: ",
            "raid_completed",
            json!({"ranking": vec![rank("x"); 101]}),
        ),
        instead_of_chat(
            "name: ",
            "raid_completed",
            json!({"ranking": [rank(escape())]}),
        ),
        instead_of_chat(
            "name: ",
            "raid_completed",
            json!({"ranking": [rank(&long())]}),
        ),
        instead_of_chat(
            "text: ",
            "player_erased",
            json!({"player": 1, "text": long(), "made_raid": false}),
        ),
        instead_of_chat(
            "player: ",
            "player_erased",
            json!({"player": (1_u64 << 53) - 1, "text": "x", "made_raid": false}),
        ),
    ]
}

/// A case that sets a field in the data of player 1's first event of a kind.
fn player_event_case(
    kind: &'static str,
    field: &'static str,
    value: impl Into<Value>,
) -> (&'static str, Alter) {
    let value = value.into();
    case(field, move |contents| {
        let is_kind = |event: &&mut PlayerEventLine| event.player == 1 && event.kind == kind;
        let event = contents.player_events.iter_mut().find(is_kind);
        let event = event.unwrap_or_else(|| panic!("no {kind} in the sample"));
        event.data[field] = value.clone();
    })
}

fn stream_cases() -> Vec<(&'static str, Alter)> {
    let long = || "x".repeat(100_000);
    let huge = 1_u64 << 60;
    vec![
        case("stream of player 1: last_seq: ", |c| {
            c.streams[0].last_seq = i64::MAX
        }),
        case("stream of player 1: state_seq: ", |c| {
            c.streams[0].state_seq = 0
        }),
        case("stream of player 1: state_seq: ", |c| {
            c.streams[0].state_seq = c.streams[0].last_seq + 1
        }),
        case("stream of player 1: state: ", |c| {
            c.streams[0].state = "xyz".into()
        }),
        case("stream of player 1: event 1: at: ", |c| {
            c.player_events[0].at = FAR_TIME
        }),
        case("stream of player 1: event 1: version: ", |c| {
            c.player_events[0].version = 0
        }),
        case("stream of player 1: event 1: op_key: ", |c| {
            c.player_events[0].op_key = Some("ab".into())
        }),
        case("stream of player 1: event 1: cause_raid: ", |c| {
            c.player_events[0].cause_raid = Some(i64::MAX)
        }),
        case("stream of player 1: event 1: cause_seq: ", |c| {
            c.player_events[0].cause_seq = Some(-1)
        }),
        case(
            "stream of player 1: event 1: cause_raid, cause_seq: ",
            |c| {
                c.player_events[0].cause_raid = None;
                c.player_events[0].cause_seq = Some(1);
            },
        ),
        case("stream of player 1: event 1: unknown variant", |c| {
            c.player_events[0].kind = "xp_earnt".into()
        }),
        case("stream of player 1: event 1: more: ", |c| {
            c.player_events[0].data["more"] = json!(1)
        }),
        player_event_case("setting_set", "key", long()),
        player_event_case("setting_set", "value", long()),
        player_event_case("setting_set", "version", huge),
        player_event_case("name_changed", "name", long()),
        player_event_case("name_changed", "name", "a\u{1b}b"),
        player_event_case("notified", "kind", long()),
        player_event_case("notified", "data", json!({"title": long()})),
        player_event_case("notified", "data", json!({"title": "a\u{1b}b"})),
        player_event_case("read_through", "seq", huge),
        player_event_case("corrected", "from", huge),
        player_event_case("corrected", "to", huge),
        player_event_case("corrected", "note", long()),
    ]
}

fn rank(name: &str) -> Value {
    json!({"player": 1, "name": name, "xp": 0, "tasks": 0, "rank": 1})
}

#[tokio::test]
async fn a_field_out_of_its_bounds_is_refused_by_name() {
    let sample = sample_contents().await;
    assert_eq!(import_error(&mut sample.clone()).await, None);
    let cases = [line_cases(), event_cases(), stream_cases()];
    for (number, (expected, alter)) in cases.into_iter().flatten().enumerate() {
        let mut contents = sample.clone();
        alter(&mut contents);
        let error = import_error(&mut contents).await;
        let error = error.unwrap_or_else(|| panic!("case {number}, {expected}: accepted"));
        assert!(
            error.contains(expected),
            "case {number}, {expected}: {error}"
        );
        assert!(error.len() < 1_000, "case {number}: {} bytes", error.len());
    }
}

#[tokio::test]
async fn two_raids_with_one_invite_code_are_refused() {
    for database in [BackupDatabase::sqlite(), BackupDatabase::postgres().await] {
        let mut contents = sample_contents().await;
        let code = contents.raids[0].invite_code.clone();
        contents.raids[1].invite_code.clone_from(&code);
        for event in &mut contents.events {
            if event.raid == contents.raids[1].id && event.kind == "raid_created" {
                event.data["invite_code"] = json!(code);
            }
        }
        contents.snapshots.clear();
        let (file, _) = export_to_file(&mut contents).await;
        let refused = database.import(&file).await;
        assert!(
            matches!(refused, Err(BackupError::Invalid { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn names_that_only_new_input_refuses_are_imported() {
    let mut contents = sample_contents().await;
    contents.players[5].name = "\u{200b}".into(); // who has no stream
    contents.raids[0].title = "\u{202e}evil".into();
    for event in &mut contents.events {
        match event.kind.as_str() {
            "raid_created" if event.raid == 1 => event.data["title"] = json!("\u{202e}evil"),
            "member_joined" => event.data["name"] = json!("\u{2066}\u{2060}"),
            "task_added" => event.data["title"] = json!("\u{3164}"),
            "said" => event.data["text"] = json!("\u{200b}"),
            _ => {}
        }
    }
    assert_eq!(import_error(&mut contents).await, None);
}

/// The largest ids that an import accepts leave as many for later creations.
#[tokio::test]
async fn creations_follow_the_largest_imported_ids() {
    for database in [BackupDatabase::sqlite(), BackupDatabase::postgres().await] {
        let mut contents = sample_contents().await;
        contents.ids.players = ID_MAX;
        contents.ids.raids = ID_MAX;
        let (file, _) = export_to_file(&mut contents).await;
        database.import(&file).await.expect("imported");
        let store = database.store().await;
        let player = store.create_player("Ada").await.expect("a player");
        assert_eq!(i64::from(player.id), ID_MAX + 1);
        let raids = store.reserve_raid_ids(10).await.expect("ids");
        assert_eq!(raids.start, ID_MAX as u64 + 1);
    }
}
