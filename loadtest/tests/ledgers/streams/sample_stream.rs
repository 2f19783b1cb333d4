//! A valid case of one player with two devices, which the tests forge.

use raidhall_loadtest::client_log::{LogEntry, Moment, Observation, StreamLog};
use raidhall_loadtest::fold::StreamFold;
use raidhall_loadtest::judge::{
    StreamCase, StreamRecord, StreamVerdict, StreamViolationKind, expected_effects, judge_players,
};
use raidhall_protocol::event::LeaderReason;
use raidhall_protocol::player::event::{Allowance, RaidOutcome, RaidPlace};
use raidhall_protocol::player::message::Me;
use raidhall_protocol::player::{
    PlayerCommand, PlayerEvent, PlayerEventData, PlayerMessage, PlayerRequest, PlayerState,
};
use raidhall_protocol::rest::{PlayerStateAt, Profile};
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::state::{Rank, Role};
use raidhall_protocol::{ClientMessage, Event, EventData, Seq, ServerMessage, UnixMillis};

use crate::sample_case::{created, event, history, joined, op, player, raid, received, task};

/// The index of the event with this seq.
pub(crate) const fn at(seq: usize) -> usize {
    seq - 1
}

pub(crate) fn ben() -> PlayerRef {
    PlayerRef {
        id: player(6),
        name: "Ben".to_owned(),
    }
}

/// Ada (5) creates a raid, Ben (6) joins; Ben is credited with 30 XP (5), completes a task of 400 XP
/// (8), leads (9), and the raid is won (10).
pub(crate) fn ledger() -> Vec<Event> {
    let claimed = EventData::TaskClaimed {
        task: task(1),
        player: player(6),
        energy: 90,
    };
    let completed = EventData::TaskCompleted {
        task: task(1),
        player: player(6),
        xp: 400,
        energy: 95,
        member_xp: 430,
        member_tasks: 2,
        current_xp: 430,
        current_tasks: 2,
    };
    let contributed = EventData::Contributed {
        player: player(6),
        xp: 30,
        kind: "focus".to_owned(),
        note: None,
        member_xp: 30,
        member_tasks: 1,
        current_xp: 30,
        current_tasks: 1,
    };
    let promoted = EventData::LeaderChanged {
        player: player(6),
        previous: player(5),
        reason: LeaderReason::Promoted,
        term: 2,
    };
    let rank = |id, name: &str, xp, tasks, rank| Rank {
        player: player(id),
        name: name.to_owned(),
        xp,
        tasks,
        rank,
    };
    let ranking = vec![rank(6, "Ben", 430, 2, 1), rank(5, "Ada", 0, 0, 2)];
    let mut events = vec![
        event(1, 5, created()),
        event(2, 5, joined(5, "Ada", Role::Leader, 1)),
        event(3, 6, joined(6, "Ben", Role::Member, 2)),
        history()[3].clone(),
        event(5, 5, contributed),
        history()[4].clone(),
        event(7, 6, claimed),
        event(8, 6, completed),
        event(9, 5, promoted),
        event(10, 5, EventData::RaidCompleted { ranking }),
    ];
    events[at(6)].seq = Seq(6);
    events
}

/// Returns an event of Ben's stream that happened at the time of its cause, or of the ledger's event
/// with the number `at`.
fn stream_event(seq: u64, cause: Option<u64>, at: usize, data: PlayerEventData) -> PlayerEvent {
    PlayerEvent {
        seq: Seq(seq),
        at: ledger()[at - 1].at,
        cause: cause.map(place),
        data,
    }
}

pub(crate) fn place(seq: u64) -> RaidPlace {
    RaidPlace {
        raid: raid(),
        seq: Seq(seq),
    }
}

fn joined_as(role: Role) -> PlayerEventData {
    PlayerEventData::RaidJoined { raid: raid(), role }
}

/// Ben's stream: what the raid gave him, and a setting.
fn stream() -> Vec<PlayerEvent> {
    let set = PlayerEventData::SettingSet {
        key: "app.n".to_owned(),
        value: "k1".into(),
        version: 1,
    };
    let contributed = PlayerEventData::XpEarned {
        amount: 30,
        counted: 30,
        earned_xp: 30,
        xp: 30,
        tasks: 1,
        allowance: None,
    };
    let completed = PlayerEventData::XpEarned {
        amount: 400,
        counted: 300,
        earned_xp: 430,
        xp: 330,
        tasks: 2,
        allowance: Some(Allowance {
            ranked: false,
            used: 300,
            since: ledger()[at(8)].at,
        }),
    };
    let ended = PlayerEventData::RaidEnded {
        raid: raid(),
        outcome: RaidOutcome::Completed,
        rank: Some(1),
        xp: 430,
        raids_played: 1,
        raids_won: 1,
    };
    vec![
        stream_event(1, Some(3), 3, joined_as(Role::Member)),
        stream_event(2, None, 4, set),
        stream_event(3, Some(5), 5, contributed),
        stream_event(4, Some(8), 8, completed),
        stream_event(5, Some(9), 9, joined_as(Role::Leader)),
        stream_event(6, Some(10), 10, ended),
    ]
}

pub(crate) fn stream_message(message: PlayerMessage) -> Observation {
    received(ServerMessage::Player(message))
}

pub(crate) fn told(event: &PlayerEvent) -> Observation {
    stream_message(PlayerMessage::Event {
        player: player(6),
        event: event.clone(),
    })
}

pub(crate) fn sent(request: PlayerRequest) -> Observation {
    Observation::Sent(ClientMessage::Player(request))
}

pub(crate) fn watch(since: Option<u64>) -> Observation {
    sent(PlayerRequest::Watch {
        id: None,
        player: Me::Me,
        since: since.map(Seq),
    })
}

pub(crate) fn watching(seq: u64) -> Observation {
    stream_message(PlayerMessage::Watching {
        id: None,
        player: player(6),
        seq: Seq(seq),
        recovered: true,
    })
}

pub(crate) fn state_at(seq: usize) -> PlayerState {
    let mut fold = StreamFold::of_new_player(&ben());
    for event in &stream()[..seq] {
        fold.apply(event).unwrap();
    }
    fold.state().unwrap().clone()
}

pub(crate) fn snapshot(seq: usize) -> Observation {
    stream_message(PlayerMessage::Snapshot {
        id: None,
        player: player(6),
        seq: Seq(seq as u64),
        recovered: false,
        state: Box::new(state_at(seq)),
    })
}

pub(crate) fn set(id: u64, key: &str) -> Observation {
    sent(PlayerRequest::Do {
        id,
        player: Me::Me,
        op: op(key),
        cmd: PlayerCommand::SetSetting {
            key: "app.n".to_owned(),
            value: key.into(),
            if_version: None,
        },
    })
}

pub(crate) fn ack(id: u64, seq: u64) -> Observation {
    stream_message(PlayerMessage::Ack {
        id,
        player: player(6),
        seq: Seq(seq),
        duplicate: false,
    })
}

pub(crate) fn connected() -> Observation {
    crate::sample_case::connected_entry()
}

pub(crate) fn settled(head: u64) -> Observation {
    Observation::Settled {
        head: Seq(head),
        online: Vec::new(),
    }
}

/// The ledger, Ben's stream and the logs of his devices. Tests forge any part of them.
pub(crate) struct StreamSample {
    pub(crate) ledger: Vec<Event>,
    pub(crate) stream: Vec<PlayerEvent>,
    pub(crate) states: Vec<PlayerStateAt>,
    pub(crate) profile: Profile,
    pub(crate) phone: Vec<Observation>,
    pub(crate) laptop: Vec<Observation>,
}

impl StreamSample {
    pub(crate) fn valid() -> StreamSample {
        let events = stream();
        let e = |seq: usize| told(&events[at(seq)]);
        let phone = vec![
            connected(),
            watch(None),
            snapshot(1),
            set(1, "k1"), // 3
            e(2),
            ack(1, 2), // 5
            e(3),
            e(4),
            e(5), // 8
            e(6),
            settled(6), // 10
        ];
        let laptop = vec![
            connected(),
            watch(None),
            snapshot(1),
            e(2),
            e(3), // 4
            crate::sample_case::DISCONNECTED,
            connected(),
            watch(Some(3)), // 7
            watching(6),
            e(4), // 9
            e(5),
            e(6),
            settled(6), // 12
        ];
        let state = PlayerStateAt {
            seq: Seq(6),
            state: state_at(6),
        };
        StreamSample {
            ledger: ledger(),
            stream: events,
            states: vec![state.clone(), state],
            profile: Profile {
                id: player(6),
                name: "Ben".to_owned(),
                xp: 430,
                tasks: 2,
                raids_won: 1,
                created_at: UnixMillis(1),
            },
            phone,
            laptop,
        }
    }

    pub(crate) fn judge(self) -> StreamVerdict {
        let log = |client: &str, observations: Vec<Observation>| StreamLog {
            client: client.to_owned(),
            player: player(6),
            entries: observations
                .into_iter()
                .enumerate()
                .map(|(index, observation)| LogEntry {
                    at: Moment(index as u64 * 1_000_000),
                    observation,
                })
                .collect(),
        };
        let case = StreamCase {
            record: StreamRecord {
                player: ben(),
                events: self.stream,
                states: self.states,
                profile: Some(self.profile),
            },
            devices: vec![log("phone", self.phone), log("laptop", self.laptop)],
        };
        judge_players(&[case], &expected_effects(raid(), &self.ledger))
    }
}

/// Returns the violations of the sample after a test has forged it, each with its device.
pub(crate) fn find(forge: impl FnOnce(&mut StreamSample)) -> Vec<(String, StreamViolationKind)> {
    let mut sample = StreamSample::valid();
    forge(&mut sample);
    let violations = sample.judge().violations;
    violations
        .into_iter()
        .map(|it| (it.client, it.kind))
        .collect()
}

/// Asserts that the judge finds this violation of a device, and no other.
#[track_caller]
pub(crate) fn assert_only(
    client: &str,
    kind: StreamViolationKind,
    forge: impl FnOnce(&mut StreamSample),
) {
    assert_eq!(find(forge), [(client.to_owned(), kind)]);
}
