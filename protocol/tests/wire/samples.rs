//! Samples: a message of every type, with every optional field present and absent.

use std::collections::BTreeMap;

use raidhall_protocol::error::{ErrorBody, ErrorType, FieldFault};
use raidhall_protocol::event::{Event, EventData, FailReason, LeaderReason, LeaveReason};
use raidhall_protocol::server::{
    ByeReason, PlayerRef, ServerMessage, UnwatchReason, WelcomeLimits,
};
use raidhall_protocol::state::{
    ChatMessage, Member, RaidState, RaidStatus, Rank, Role, Task, TaskStatus,
};
use raidhall_protocol::{ClientMessage, Command, OpKey, PlayerId, RaidId, Seq, TaskId, UnixMillis};
use serde_json::json;

use crate::player_samples;

const NOW: i64 = 1_767_225_600_000;

/// Returns the messages that clients send, each with the name of its fixture.
pub(crate) fn client() -> Vec<(String, ClientMessage)> {
    let raid = raid(7);
    let since = Some(Seq(120));
    let mut samples = vec![
        (
            "hello",
            ClientMessage::Hello {
                token: "eyJ.a.b".to_owned(),
                client: None,
            },
        ),
        (
            "hello_with_client",
            ClientMessage::Hello {
                token: "eyJ.a.b".to_owned(),
                client: Some("web/1.0".to_owned()),
            },
        ),
        (
            "watch",
            ClientMessage::Watch {
                id: None,
                raid,
                since: None,
            },
        ),
        (
            "watch_since",
            ClientMessage::Watch {
                id: Some(3),
                raid,
                since,
            },
        ),
        (
            "watch_since_start",
            ClientMessage::Watch {
                id: None,
                raid,
                since: Some(Seq::ZERO),
            },
        ),
        ("unwatch", ClientMessage::Unwatch { id: None, raid }),
        (
            "unwatch_with_id",
            ClientMessage::Unwatch { id: Some(0), raid },
        ),
        (
            "do_without_op",
            ClientMessage::Do {
                id: 17,
                raid,
                op: None,
                cmd: Command::Start,
            },
        ),
        ("signal", signal(None, json!({ "emoji": "🔥" }))),
        (
            "signal_with_id",
            signal(Some(18), json!([null, true, -1, 0.5, "x", {}])),
        ),
        ("signal_without_data", signal(None, json!(null))),
        ("beat", ClientMessage::Beat),
    ]
    .into_iter()
    .map(|(name, message)| (name.to_owned(), message))
    .collect::<Vec<_>>();
    let largest = (1 << 53) - 1;
    let op = OpKey::try_from("0190f3-a_B.9".to_owned()).ok();
    samples.push((
        "do_with_largest_numbers".to_owned(),
        ClientMessage::Do {
            id: largest,
            raid: RaidId::try_from(largest).expect("an id"),
            op: OpKey::try_from("k".repeat(64)).ok(),
            cmd: Command::ClaimTask {
                task: TaskId::try_from(largest).expect("an id"),
            },
        },
    ));
    for (suffix, cmd) in commands() {
        let name = format!("do_{}{suffix}", cmd.kind());
        samples.push((
            name,
            ClientMessage::Do {
                id: 17,
                raid,
                op: op.clone(),
                cmd,
            },
        ));
    }
    samples.extend(player_samples::client());
    samples
}

fn commands() -> Vec<(&'static str, Command)> {
    let player = player(6);
    let task = task(3);
    let contribute = |xp, note: Option<&str>| Command::Contribute {
        player,
        xp,
        kind: "habit".to_owned(),
        note: note.map(str::to_owned),
    };
    vec![
        ("", Command::Start),
        ("", Command::Leave),
        ("", Command::Kick { player }),
        ("", Command::Promote { player }),
        (
            "",
            Command::Mute {
                player,
                until: Some(NOW + 600_000),
            },
        ),
        (
            "_lifted",
            Command::Mute {
                player,
                until: None,
            },
        ),
        ("", Command::RotateInvite),
        ("", Command::Cancel),
        (
            "",
            Command::AddTask {
                title: "Fix the build".to_owned(),
                xp: 40,
                minutes: 25,
            },
        ),
        (
            "_out_of_range",
            Command::AddTask {
                title: String::new(),
                xp: -1,
                minutes: i64::from(i32::MIN),
            },
        ),
        (
            "",
            Command::EditTask {
                task,
                title: Some("Fix the build again".to_owned()),
                minutes: Some(50),
            },
        ),
        (
            "_title",
            Command::EditTask {
                task,
                title: Some("Fix it".to_owned()),
                minutes: None,
            },
        ),
        ("", Command::RemoveTask { task }),
        ("", Command::ClaimTask { task }),
        ("", Command::ReleaseTask { task }),
        ("", Command::CompleteTask { task }),
        ("", Command::FailTask { task }),
        ("", contribute(25, Some("7 days in a row"))),
        ("_without_note", contribute(1, None)),
        (
            "",
            Command::Say {
                text: "on it — 🔥 \"quoted\" \\ \u{202e}".to_owned(),
            },
        ),
    ]
}

fn signal(id: Option<u64>, data: serde_json::Value) -> ClientMessage {
    ClientMessage::Signal {
        id,
        raid: raid(7),
        kind: "emote".to_owned(),
        data,
    }
}

/// Returns the messages that the server sends, each with the name of its fixture.
pub(crate) fn server() -> Vec<(String, ServerMessage)> {
    let raid = raid(7);
    let online = vec![player(5), player(6)];
    let snapshot = |seq, state| ServerMessage::Snapshot {
        id: None,
        raid,
        seq: Seq(seq),
        recovered: false,
        online: online.clone(),
        state: Box::new(state),
    };
    let mut samples = vec![
        (
            "welcome".to_owned(),
            welcome(Some(PlayerRef {
                id: player(5),
                name: "Ada".to_owned(),
            })),
        ),
        ("welcome_service".to_owned(), welcome(None)),
        (
            "watching".to_owned(),
            ServerMessage::Watching {
                id: None,
                raid,
                seq: Seq(123),
                recovered: true,
                online: online.clone(),
            },
        ),
        ("snapshot_new".to_owned(), snapshot(2, new_state())),
        ("snapshot_active".to_owned(), snapshot(123, active_state())),
        (
            "snapshot_completed".to_owned(),
            snapshot(130, completed_state()),
        ),
        (
            "snapshot_abandoned".to_owned(),
            snapshot(4, abandoned_state()),
        ),
        (
            "watching_with_id".to_owned(),
            ServerMessage::Watching {
                id: Some(3),
                raid,
                seq: Seq(123),
                recovered: true,
                online: online.clone(),
            },
        ),
        (
            "snapshot_with_id".to_owned(),
            ServerMessage::Snapshot {
                id: Some(9_007_199_254_740_991),
                raid,
                seq: Seq(2),
                recovered: false,
                online: online.clone(),
                state: Box::new(new_state()),
            },
        ),
        (
            "unwatched_with_id".to_owned(),
            ServerMessage::Unwatched {
                id: Some(4),
                raid,
                reason: UnwatchReason::Asked,
            },
        ),
        (
            "presence".to_owned(),
            ServerMessage::Presence {
                raid,
                online: vec![player(5)],
                offline: vec![player(6)],
            },
        ),
        (
            "beat".to_owned(),
            ServerMessage::Beat {
                now: UnixMillis(NOW),
                heads: BTreeMap::from([("7".to_owned(), Seq(124)), ("12".to_owned(), Seq(70_000))]),
            },
        ),
        (
            "beat_without_watches".to_owned(),
            ServerMessage::Beat {
                now: UnixMillis(NOW),
                heads: BTreeMap::new(),
            },
        ),
        (
            "ack".to_owned(),
            ServerMessage::Ack {
                id: 17,
                raid,
                seq: Seq(124),
                duplicate: false,
            },
        ),
        (
            "ack_duplicate".to_owned(),
            ServerMessage::Ack {
                id: 0,
                raid,
                seq: Seq(124),
                duplicate: true,
            },
        ),
        (
            "signal".to_owned(),
            ServerMessage::Signal {
                raid,
                from: player(5),
                kind: "emote".to_owned(),
                data: json!({ "emoji": "🔥" }),
            },
        ),
        (
            "bye".to_owned(),
            ServerMessage::Bye {
                reason: ByeReason::Draining,
                reconnect_after_ms: 840,
            },
        ),
    ];
    for (reason, name) in [
        (UnwatchReason::Asked, "asked"),
        (UnwatchReason::Kicked, "kicked"),
        (UnwatchReason::Left, "left"),
        (UnwatchReason::Forbidden, "forbidden"),
    ] {
        samples.push((
            format!("unwatched_{name}"),
            ServerMessage::Unwatched {
                id: None,
                raid,
                reason,
            },
        ));
    }
    samples.extend(ErrorType::ALL.map(error));
    let events = events()
        .into_iter()
        .zip(124..)
        .map(|((suffix, by, data), seq)| {
            let name = format!("event_{}{suffix}", data.kind());
            let event = Event {
                seq: Seq(seq),
                at: UnixMillis(NOW + 1_000),
                by: by.map(player),
                data,
            };
            (name, ServerMessage::Event { raid, event })
        });
    samples.extend(events);
    samples.extend(player_samples::server());
    samples
}

fn welcome(player: Option<PlayerRef>) -> ServerMessage {
    ServerMessage::Welcome {
        player,
        session: "01JGFJJZ00".to_owned(),
        now: UnixMillis(NOW),
        heartbeat_ms: 20_000,
        limits: WelcomeLimits {
            message_bytes: 16_384,
            commands_per_second: 20,
            watches: 32,
        },
        lineage: "9f2c41d07be3".to_owned(),
        features: vec!["player".to_owned()],
    }
}

/// Returns an error message of the given type. It has `retry_after_ms` if the type may be retried.
/// That of `invalid` has faulty fields and answers a message whose id and raid are bad.
fn error(r#type: ErrorType) -> (String, ServerMessage) {
    let mut body = ErrorBody::new(r#type, "What happened");
    body.retry_after_ms = r#type.retry().then_some(500);
    let mut id = Some(17);
    let mut raid = Some(raid(7));
    if r#type == ErrorType::Invalid {
        id = None;
        raid = None;
        body.fields = Some(vec![
            FieldFault::new("id", "is required"),
            FieldFault::new("raid", "must be a positive integer below 2^53"),
        ]);
    }
    (
        format!("error_{}", r#type.as_str()),
        ServerMessage::Error {
            re: "do".to_owned(),
            id,
            raid,
            player: None,
            error: body,
        },
    )
}

/// Returns every event type: a suffix for the fixture's name, the acting player, and the data.
fn events() -> Vec<(&'static str, Option<u64>, EventData)> {
    let previous = player(6);
    let player = player(5);
    let task = task(3);
    let at = UnixMillis(NOW);
    let created = |description: Option<&str>| EventData::RaidCreated {
        title: "Ship it".to_owned(),
        description: description.map(str::to_owned),
        invite_code: "K7MQ2XNB".to_owned(),
        target_xp: 500,
        target_tasks: 10,
        time_limit_secs: 86_400,
        max_members: 4,
        late_join: false,
        ranked: description.is_some(),
    };
    let joined = |role, xp, tasks, energy| EventData::MemberJoined {
        player,
        name: "Ada".to_owned(),
        role,
        xp,
        tasks,
        energy,
        energy_at: at,
        joined_at: at.plus(1_000),
    };
    let contributed = |note: Option<&str>| EventData::Contributed {
        player,
        xp: 25,
        kind: "habit".to_owned(),
        note: note.map(str::to_owned),
        member_xp: 105,
        member_tasks: 3,
        current_xp: 145,
        current_tasks: 4,
    };
    let led = |reason, term| EventData::LeaderChanged {
        player,
        previous,
        reason,
        term,
    };
    let left = |reason, released| EventData::MemberLeft {
        player,
        reason,
        released,
    };
    vec![
        ("", Some(5), created(None)),
        ("_with_description", Some(5), created(Some("By Friday"))),
        ("", Some(5), joined(Role::Leader, 0, 0, 100)),
        ("_again", Some(5), joined(Role::Member, 80, 2, 70)),
        ("", Some(5), left(LeaveReason::Left, vec![])),
        ("_kicked", Some(6), left(LeaveReason::Kicked, vec![task])),
        ("", Some(6), led(LeaderReason::Left, 2)),
        ("_promoted", Some(6), led(LeaderReason::Promoted, 3)),
        ("_offline", None, led(LeaderReason::LeaderOffline, 4)),
        (
            "",
            Some(5),
            EventData::RaidStarted {
                deadline: at.plus(86_400_000),
            },
        ),
        (
            "",
            Some(5),
            EventData::TaskAdded {
                task,
                title: "Fix the build".to_owned(),
                xp: 40,
                minutes: 25,
            },
        ),
        (
            "",
            Some(5),
            EventData::TaskClaimed {
                task,
                player,
                energy: 90,
            },
        ),
        ("", Some(6), EventData::TaskReleased { task, player }),
        (
            "",
            Some(5),
            EventData::TaskCompleted {
                task,
                player,
                xp: 40,
                energy: 95,
                member_xp: 80,
                member_tasks: 2,
                current_xp: 120,
                current_tasks: 3,
            },
        ),
        (
            "",
            Some(5),
            EventData::TaskFailed {
                task,
                player,
                energy: 0,
            },
        ),
        ("", None, contributed(Some("7 days in a row"))),
        ("_without_note", None, contributed(None)),
        (
            "",
            Some(5),
            EventData::Said {
                text: "on it — 🔥".to_owned(),
            },
        ),
        ("", Some(5), EventData::RaidCompleted { ranking: ranking() }),
        (
            "",
            None,
            EventData::RaidFailed {
                reason: FailReason::Deadline,
            },
        ),
        (
            "_cancelled",
            Some(5),
            EventData::RaidFailed {
                reason: FailReason::Cancelled,
            },
        ),
        (
            "_abandoned",
            Some(5),
            EventData::RaidFailed {
                reason: FailReason::Abandoned,
            },
        ),
        (
            "",
            Some(5),
            EventData::PlayerErased {
                player,
                text: "[erased]".to_owned(),
                made_raid: false,
            },
        ),
        (
            "",
            Some(5),
            EventData::TaskEdited {
                task,
                author: Some(previous),
                title: Some("Fix the build again".to_owned()),
                minutes: Some(50),
            },
        ),
        (
            "_minutes",
            Some(6),
            EventData::TaskEdited {
                task,
                author: None,
                title: None,
                minutes: Some(0),
            },
        ),
        ("", Some(5), EventData::TaskRemoved { task }),
        (
            "",
            Some(6),
            EventData::MemberMuted {
                player,
                until: Some(at.plus(600_000)),
            },
        ),
        (
            "_lifted",
            Some(6),
            EventData::MemberMuted {
                player,
                until: None,
            },
        ),
        (
            "",
            Some(5),
            EventData::InviteRotated {
                invite_code: "7XNBK2QM".to_owned(),
            },
        ),
        (
            "_by_host_app",
            None,
            EventData::TaskAdded {
                task,
                title: "Fix the build".to_owned(),
                xp: 40,
                minutes: 25,
            },
        ),
    ]
}

fn new_state() -> RaidState {
    RaidState {
        id: raid(7),
        title: "Ship it".to_owned(),
        description: None,
        invite_code: "K7MQ2XNB".to_owned(),
        status: RaidStatus::Recruiting,
        reason: None,
        target_xp: 500,
        target_tasks: 10,
        current_xp: 0,
        current_tasks: 0,
        max_members: 4,
        late_join: false,
        ranked: false,
        time_limit_secs: 86_400,
        created_at: UnixMillis(NOW),
        started_at: None,
        deadline: None,
        ended_at: None,
        leader: Some(player(5)),
        term: 1,
        members: vec![member(5, "Ada", Role::Leader, 0, 0)],
        tasks: vec![],
        messages: vec![],
        ranking: None,
    }
}

fn active_state() -> RaidState {
    let started = UnixMillis(NOW + 60_000);
    let task = |id, status, assignee: Option<u64>, claimed_at, ended_at| Task {
        id: task(id),
        title: "Fix the build".to_owned(),
        xp: 40,
        minutes: 25,
        status,
        assignee: assignee.map(player),
        by: (id != 1).then(|| player(5)),
        edited_by: (id == 2).then(|| player(6)),
        claimed_at,
        ended_at,
    };
    RaidState {
        description: Some("By Friday".to_owned()),
        status: RaidStatus::Active,
        current_xp: 120,
        current_tasks: 3,
        started_at: Some(started),
        deadline: Some(started.plus(86_400_000)),
        members: vec![
            member(5, "Ada", Role::Leader, 80, 2),
            Member {
                muted_until: Some(started.plus(600_000)),
                ..member(6, "Ben", Role::Member, 40, 1)
            },
        ],
        tasks: vec![
            task(1, TaskStatus::Open, None, None, None),
            task(2, TaskStatus::Claimed, Some(6), Some(started), None),
            task(
                3,
                TaskStatus::Completed,
                Some(5),
                Some(started),
                Some(started.plus(1_500)),
            ),
        ],
        messages: vec![ChatMessage {
            seq: Seq(90),
            by: player(6),
            text: "on it".to_owned(),
            at: started,
        }],
        ..new_state()
    }
}

fn completed_state() -> RaidState {
    RaidState {
        status: RaidStatus::Completed,
        current_xp: 520,
        current_tasks: 10,
        ended_at: Some(UnixMillis(NOW + 3_600_000)),
        ranking: Some(ranking()),
        ..active_state()
    }
}

fn abandoned_state() -> RaidState {
    RaidState {
        status: RaidStatus::Failed,
        reason: Some(FailReason::Abandoned),
        ended_at: Some(UnixMillis(NOW + 5_000)),
        leader: None,
        members: vec![],
        ..new_state()
    }
}

fn member(id: u64, name: &str, role: Role, xp: u64, tasks: u64) -> Member {
    let energy_at = UnixMillis(NOW + 70_000);
    let joined_at = UnixMillis(NOW);
    Member {
        player: player(id),
        name: name.to_owned(),
        role,
        xp,
        tasks,
        energy: 70,
        energy_at,
        joined_at,
        muted_until: None,
    }
}

fn ranking() -> Vec<Rank> {
    let rank = |id, name: &str, xp, tasks, rank| Rank {
        player: player(id),
        name: name.to_owned(),
        xp,
        tasks,
        rank,
    };
    vec![rank(5, "Ada", 400, 7, 1), rank(6, "Ben", 40, 1, 2)]
}

fn raid(id: u64) -> RaidId {
    RaidId::try_from(id).expect("an id")
}

fn player(id: u64) -> PlayerId {
    PlayerId::try_from(id).expect("an id")
}

fn task(id: u64) -> TaskId {
    TaskId::try_from(id).expect("an id")
}
