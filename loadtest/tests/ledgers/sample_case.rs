//! A valid case of two players, which the tests forge.

use std::sync::Arc;

use raidhall_loadtest::client_log::{ClientLog, Moment, Observation};
use raidhall_loadtest::fold::Fold;
use raidhall_loadtest::judge::{ServerRecord, Verdict, ViolationKind, judge};
use raidhall_protocol::state::Role;
use raidhall_protocol::{
    ClientMessage, Command, Event, EventData, OpKey, PlayerId, RaidId, Seq, ServerMessage, TaskId,
    UnixMillis,
};

/// What a client observed, with the time in milliseconds.
pub(crate) type TimedObservation = (u64, Observation);

pub(crate) fn raid() -> RaidId {
    RaidId::try_from(7_u64).unwrap()
}

pub(crate) fn player(id: u64) -> PlayerId {
    PlayerId::try_from(id).unwrap()
}

pub(crate) fn task(id: u64) -> TaskId {
    TaskId::try_from(id).unwrap()
}

pub(crate) fn event(seq: u64, by: u64, data: EventData) -> Event {
    let at = UnixMillis(1_767_225_600_000 + i64::try_from(seq).unwrap() * 1000);
    Event {
        seq: Seq(seq),
        at,
        by: Some(player(by)),
        data,
    }
}

pub(crate) fn joined(id: u64, name: &str, role: Role, at: i64) -> EventData {
    EventData::MemberJoined {
        player: player(id),
        name: name.to_owned(),
        role,
        xp: 0,
        tasks: 0,
        energy: 100,
        energy_at: UnixMillis(at),
        joined_at: UnixMillis(at),
    }
}

pub(crate) fn created() -> EventData {
    EventData::RaidCreated {
        title: "Ship it".to_owned(),
        description: None,
        invite_code: "K7MQ2XNB".to_owned(),
        target_xp: 500,
        target_tasks: 10,
        time_limit_secs: 86_400,
        max_members: 4,
        late_join: false,
        ranked: false,
    }
}

/// Ada (5) creates a raid, Ben (6) joins; Ada starts it and adds a task; Ben claims and completes
/// it; Ada praises him.
pub(crate) fn history() -> Vec<Event> {
    let completed = EventData::TaskCompleted {
        task: task(1),
        player: player(6),
        xp: 40,
        energy: 95,
        member_xp: 40,
        member_tasks: 1,
        current_xp: 40,
        current_tasks: 1,
    };
    vec![
        event(1, 5, created()),
        event(2, 5, joined(5, "Ada", Role::Leader, 1)),
        event(3, 6, joined(6, "Ben", Role::Member, 2)),
        event(
            4,
            5,
            EventData::RaidStarted {
                deadline: UnixMillis(1_767_312_004_000),
            },
        ),
        event(
            5,
            5,
            EventData::TaskAdded {
                task: task(1),
                title: "Fix".to_owned(),
                xp: 40,
                minutes: 25,
            },
        ),
        event(
            6,
            6,
            EventData::TaskClaimed {
                task: task(1),
                player: player(6),
                energy: 90,
            },
        ),
        event(7, 6, completed),
        event(
            8,
            5,
            EventData::Said {
                text: "well done".to_owned(),
            },
        ),
    ]
}

pub(crate) fn received(message: ServerMessage) -> Observation {
    Observation::Received(Arc::new(message))
}

pub(crate) fn received_event(event: &Event) -> Observation {
    received(ServerMessage::Event {
        raid: raid(),
        event: event.clone(),
    })
}

pub(crate) fn connected_entry() -> Observation {
    Observation::Connected {
        lineage: "9f2c".to_owned(),
        server: 0,
    }
}

pub(crate) fn watch_entry(since: Option<u64>) -> Observation {
    Observation::Sent(ClientMessage::Watch {
        id: None,
        raid: raid(),
        since: since.map(Seq),
    })
}

pub(crate) fn both_players() -> Vec<PlayerId> {
    vec![player(5), player(6)]
}

pub(crate) fn watching_entry(seq: u64) -> Observation {
    received(ServerMessage::Watching {
        id: None,
        raid: raid(),
        seq: Seq(seq),
        recovered: true,
        online: both_players(),
    })
}

/// The entry of a connection that was lost.
pub(crate) const DISCONNECTED: Observation = Observation::Disconnected { code: None };

/// Returns the answer to a watch that shows these players online.
pub(crate) fn online_entry(online: &[PlayerId]) -> Observation {
    received(ServerMessage::Watching {
        id: None,
        raid: raid(),
        seq: Seq(3),
        recovered: true,
        online: online.to_vec(),
    })
}

pub(crate) fn presence_entry(online: &[u64], offline: &[u64]) -> Observation {
    let [online, offline] = [online, offline].map(|ids| ids.iter().map(|id| player(*id)).collect());
    received(ServerMessage::Presence {
        raid: raid(),
        online,
        offline,
    })
}

pub(crate) fn snapshot_entry(seq: u64) -> Observation {
    let events = history();
    let fold =
        Fold::from_events(raid(), events.iter().take(usize::try_from(seq).unwrap())).unwrap();
    let state = Box::new(fold.state().unwrap().clone());
    received(ServerMessage::Snapshot {
        id: None,
        raid: raid(),
        seq: Seq(seq),
        recovered: false,
        online: both_players(),
        state,
    })
}

pub(crate) fn op(name: &str) -> Option<OpKey> {
    Some(OpKey::try_from(name.to_owned()).unwrap())
}

pub(crate) fn command_entry(id: u64, key: &str, cmd: Command) -> Observation {
    Observation::Sent(ClientMessage::Do {
        id,
        raid: raid(),
        op: op(key),
        cmd,
    })
}

pub(crate) fn ack_entry(id: u64, seq: u64) -> Observation {
    received(ServerMessage::Ack {
        id,
        raid: raid(),
        seq: Seq(seq),
        duplicate: false,
    })
}

pub(crate) fn settled_entry(head: u64) -> Observation {
    Observation::Settled {
        head: Seq(head),
        online: both_players(),
    }
}

/// The client logs and the server record for the judge. Tests forge any part of them.
pub(crate) struct SampleCase {
    pub(crate) history: Vec<Event>,
    pub(crate) ada: Vec<Observation>,
    pub(crate) ben: Vec<Observation>,
    pub(crate) server_record: Option<ServerRecord>,
}

impl SampleCase {
    pub(crate) fn valid() -> SampleCase {
        let events = history();
        let e = |seq: usize| received_event(&events[seq - 1]);
        let add = Command::AddTask {
            title: "Fix".to_owned(),
            xp: 40,
            minutes: 25,
        };
        let say = Command::Say {
            text: "well done".to_owned(),
        };
        let ada = vec![
            connected_entry(),
            watch_entry(None),
            snapshot_entry(3),
            command_entry(1, "a1", Command::Start), // 3
            e(4),
            ack_entry(1, 4),
            command_entry(2, "a2", add), // 6
            e(5),
            ack_entry(2, 5),
            e(6), // 9
            e(7),
            command_entry(3, "a3", say), // 11
            e(8),
            ack_entry(3, 8), // 13
            settled_entry(8),
        ];
        let ben = vec![
            connected_entry(),
            watch_entry(None),
            snapshot_entry(3),
            e(4), // 3
            e(5),
            command_entry(1, "b1", Command::ClaimTask { task: task(1) }), // 5
            e(6),
            ack_entry(1, 6), // 7
            command_entry(2, "b2", Command::CompleteTask { task: task(1) }),
            Observation::Disconnected { code: None }, // 9
            connected_entry(),
            watch_entry(Some(6)),
            command_entry(2, "b2", Command::CompleteTask { task: task(1) }), // 12
            watching_entry(7),
            e(7), // 14
            received(ServerMessage::Ack {
                id: 2,
                raid: raid(),
                seq: Seq(7),
                duplicate: true,
            }),
            e(8), // 16
            settled_entry(8),
        ];
        let fold = Fold::from_events(raid(), &events).unwrap();
        let truth = ServerRecord {
            events: events.clone(),
            state: fold.state().unwrap().clone(),
            seq: Seq(8),
            online: both_players(),
            contributions: None,
            profiles: Vec::new(),
        };
        SampleCase {
            history: events,
            ada,
            ben,
            server_record: Some(truth),
        }
    }

    pub(crate) fn server_record(&mut self) -> &mut ServerRecord {
        self.server_record.as_mut().unwrap()
    }

    /// Returns the logs with a millisecond between entries.
    pub(crate) fn logs(&self) -> [ClientLog; 2] {
        let log_of = |name, id, entries: &[Observation]| {
            let mut log = ClientLog::new(name, player(id), raid());
            for (at, entry) in entries.iter().enumerate() {
                log.record(Moment(at as u64 * 1000), entry.clone());
            }
            log
        };
        [log_of("ada", 5, &self.ada), log_of("ben", 6, &self.ben)]
    }

    pub(crate) fn judge(&self) -> Verdict {
        judge(raid(), &self.logs(), self.server_record.as_ref())
    }

    /// Asserts that the judge finds this violation, whatever else follows from the forgery.
    pub(crate) fn assert_violation(&self, client: &str, is: impl Fn(&ViolationKind) -> bool) {
        let violations = self.judge().violations;
        let found = violations
            .iter()
            .any(|violation| violation.client == client && is(&violation.kind));
        let list: Vec<_> = violations.iter().map(ToString::to_string).collect();
        assert!(found, "violation not found among {list:#?}");
    }
}
