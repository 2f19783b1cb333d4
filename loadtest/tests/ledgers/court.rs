//! An honest story of two players, to be forged by the tests.

use std::sync::Arc;

use raidhall_loadtest::fold::Fold;
use raidhall_loadtest::judge::{Breach, Truth, Verdict, judge};
use raidhall_loadtest::ledger::{Entry, Ledger, Moment};
use raidhall_protocol::state::Role;
use raidhall_protocol::{
    ClientMessage, Command, Event, EventData, OpKey, PlayerId, RaidId, Seq, ServerMessage, TaskId,
    UnixMillis,
};

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
    }
}

/// Ada (5) makes a raid, Ben (6) joins; she starts it and adds a task; he claims and completes it; she says so.
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

pub(crate) fn told(message: ServerMessage) -> Entry {
    Entry::Received(Arc::new(message))
}

pub(crate) fn told_event(event: &Event) -> Entry {
    told(ServerMessage::Event {
        raid: raid(),
        event: event.clone(),
    })
}

pub(crate) fn connected() -> Entry {
    Entry::Connected {
        lineage: "9f2c".to_owned(),
        server: 0,
    }
}

pub(crate) fn watch(since: Option<u64>) -> Entry {
    Entry::Sent(ClientMessage::Watch {
        id: None,
        raid: raid(),
        since: since.map(Seq),
    })
}

pub(crate) fn both() -> Vec<PlayerId> {
    vec![player(5), player(6)]
}

pub(crate) fn watching(seq: u64) -> Entry {
    told(ServerMessage::Watching {
        raid: raid(),
        seq: Seq(seq),
        recovered: true,
        online: both(),
    })
}

pub(crate) fn snapshot(seq: u64) -> Entry {
    let events = history();
    let fold = Fold::of(raid(), events.iter().take(usize::try_from(seq).unwrap())).unwrap();
    let state = Box::new(fold.state().unwrap().clone());
    told(ServerMessage::Snapshot {
        raid: raid(),
        seq: Seq(seq),
        recovered: false,
        online: both(),
        state,
    })
}

pub(crate) fn op(name: &str) -> Option<OpKey> {
    Some(OpKey::try_from(name.to_owned()).unwrap())
}

pub(crate) fn sent(id: u64, key: &str, cmd: Command) -> Entry {
    Entry::Sent(ClientMessage::Do {
        id,
        raid: raid(),
        op: op(key),
        cmd,
    })
}

pub(crate) fn ack(id: u64, seq: u64) -> Entry {
    told(ServerMessage::Ack {
        id,
        raid: raid(),
        seq: Seq(seq),
        duplicate: false,
    })
}

pub(crate) fn settled(head: u64) -> Entry {
    Entry::Settled {
        head: Seq(head),
        online: both(),
    }
}

/// What is brought before the judge. Tests forge any part of it.
pub(crate) struct Court {
    pub(crate) history: Vec<Event>,
    pub(crate) ada: Vec<Entry>,
    pub(crate) ben: Vec<Entry>,
    pub(crate) truth: Option<Truth>,
}

impl Court {
    pub(crate) fn honest() -> Court {
        let events = history();
        let e = |seq: usize| told_event(&events[seq - 1]);
        let add = Command::AddTask {
            title: "Fix".to_owned(),
            xp: 40,
            minutes: 25,
        };
        let say = Command::Say {
            text: "well done".to_owned(),
        };
        let ada = vec![
            connected(),
            watch(None),
            snapshot(3),
            sent(1, "a1", Command::Start), // 3
            e(4),
            ack(1, 4),
            sent(2, "a2", add), // 6
            e(5),
            ack(2, 5),
            e(6), // 9
            e(7),
            sent(3, "a3", say), // 11
            e(8),
            ack(3, 8), // 13
            settled(8),
        ];
        let ben = vec![
            connected(),
            watch(None),
            snapshot(3),
            e(4), // 3
            e(5),
            sent(1, "b1", Command::ClaimTask { task: task(1) }), // 5
            e(6),
            ack(1, 6), // 7
            sent(2, "b2", Command::CompleteTask { task: task(1) }),
            Entry::Disconnected { code: None }, // 9
            connected(),
            watch(Some(6)),
            sent(2, "b2", Command::CompleteTask { task: task(1) }), // 12
            watching(7),
            e(7), // 14
            told(ServerMessage::Ack {
                id: 2,
                raid: raid(),
                seq: Seq(7),
                duplicate: true,
            }),
            e(8), // 16
            settled(8),
        ];
        let fold = Fold::of(raid(), &events).unwrap();
        let truth = Truth {
            events: events.clone(),
            state: fold.state().unwrap().clone(),
            seq: Seq(8),
            online: both(),
            contributions: None,
            profiles: Vec::new(),
        };
        Court {
            history: events,
            ada,
            ben,
            truth: Some(truth),
        }
    }

    pub(crate) fn truth(&mut self) -> &mut Truth {
        self.truth.as_mut().unwrap()
    }

    pub(crate) fn judge(&self) -> Verdict {
        let ledger = |name, id, entries: &[Entry]| {
            let mut ledger = Ledger::new(name, player(id), raid());
            for (at, entry) in entries.iter().enumerate() {
                ledger.note(Moment(at as u64 * 1000), entry.clone());
            }
            ledger
        };
        let ledgers = [ledger("ada", 5, &self.ada), ledger("ben", 6, &self.ben)];
        judge(raid(), &ledgers, self.truth.as_ref())
    }

    /// The forgery must be convicted of this, whatever else follows from it.
    pub(crate) fn convict(&self, client: &str, is: impl Fn(&Breach) -> bool) {
        let violations = self.judge().violations;
        let found = violations
            .iter()
            .any(|violation| violation.client == client && is(&violation.breach));
        let list: Vec<_> = violations.iter().map(ToString::to_string).collect();
        assert!(found, "not convicted; found only {list:#?}");
    }
}
