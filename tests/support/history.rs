//! A raid's history for tests of the store: numbers events, keeps the raid header up to date, and
//! builds appends from both. The events need not obey the rules of the game, which the store does
//! not know.

use raidhall::store::{
    Append, CreationTerms, Epoch, InstanceId, InstanceRecord, LedgerEvent, Month, OpHash,
    RaidHeader,
};
use raidhall_protocol::event::{FailReason, LeaveReason};
use raidhall_protocol::state::{RaidStatus, Rank, Role};
use raidhall_protocol::{Event, EventData, OpKey, PlayerId, RaidId, Seq, TaskId, UnixMillis};
use uuid::Uuid;

/// Creation time of every test raid.
pub const CREATED_AT: UnixMillis = UnixMillis(1_800_000_000_000);

/// A raid's newest seq and header as its owner keeps them; the source of the raid's appends.
#[derive(Debug, Clone)]
pub struct History {
    pub raid: RaidId,
    pub born: Month,
    pub owner: InstanceId,
    pub epoch: Epoch,
    pub seq: Seq,
    pub header: RaidHeader,
    pub create_key: Option<OpHash>,
    /// The open raids that the leader of a new raid may lead.
    pub led_raids_max: Option<u32>,
}

impl History {
    /// Returns the history of a raid that has no events yet, in epoch 1.
    pub fn new(raid: RaidId, owner: InstanceId) -> History {
        let header = RaidHeader {
            status: RaidStatus::Recruiting,
            deadline: None,
            current_xp: 0,
            current_tasks: 0,
            ended_at: None,
        };
        History {
            raid,
            born: Month(202_701),
            owner,
            epoch: Epoch(1),
            seq: Seq::ZERO,
            header,
            create_key: None,
            led_raids_max: None,
        }
    }

    /// Returns one append with the raid's creation and the leader's joining.
    pub fn creation(&mut self, leader: PlayerId) -> Append {
        self.append([raid_created(self.raid), joined_as_leader(leader)])
    }

    /// Numbers the events and returns them as one append.
    pub fn append(&mut self, data: impl IntoIterator<Item = EventData>) -> Append {
        self.append_with_op(data, None)
    }

    /// Numbers the events and returns them as one append; the last event carries the op.
    pub fn append_with_op(
        &mut self,
        data: impl IntoIterator<Item = EventData>,
        op: Option<OpHash>,
    ) -> Append {
        let mut events: Vec<_> = data.into_iter().map(|data| self.next(data)).collect();
        if let Some(last) = events.last_mut() {
            last.op = op;
        }
        let creation = self.create_key.take().map(|key| CreationTerms {
            key,
            led_raids_max: self.led_raids_max,
        });
        let Self {
            raid,
            born,
            owner,
            epoch,
            header,
            ..
        } = *self;
        Append {
            raid,
            created_month: born,
            owner,
            epoch,
            events,
            header,
            creation,
        }
    }

    fn next(&mut self, data: EventData) -> LedgerEvent {
        self.seq = self.seq.next();
        let at = CREATED_AT.plus(self.seq.0.cast_signed());
        match &data {
            EventData::RaidStarted { deadline } => {
                self.header.status = RaidStatus::Active;
                self.header.deadline = Some(*deadline);
            }
            EventData::RaidCompleted { .. } => self.set_ended(RaidStatus::Completed, at),
            EventData::RaidFailed { .. } => self.set_ended(RaidStatus::Failed, at),
            _ => {}
        }
        if let Some((_, xp)) = data.earned() {
            self.header.current_xp = self.header.current_xp.saturating_add(xp);
            self.header.current_tasks += 1;
        }
        LedgerEvent {
            event: Event {
                seq: self.seq,
                at,
                by: data.earned().map(|(player, _)| player),
                data,
            },
            op: None,
        }
    }

    fn set_ended(&mut self, status: RaidStatus, at: UnixMillis) {
        self.header.status = status;
        self.header.deadline = None;
        self.header.ended_at = Some(at);
    }
}

pub fn raid(id: u64) -> RaidId {
    RaidId::try_from(id).expect("a raid's id")
}

pub fn player(id: u64) -> PlayerId {
    PlayerId::try_from(id).expect("a player's id")
}

pub fn task(id: u64) -> TaskId {
    TaskId::try_from(id).expect("a task's id")
}

/// Returns the record of a new instance, with a random id that its URL contains.
pub fn instance() -> InstanceRecord {
    let id = Uuid::now_v7();
    InstanceRecord {
        id: InstanceId(id),
        ws_url: format!("ws://{id}/api/v1/ws"),
        release: "0.1.0".into(),
        draining: false,
    }
}

/// Returns the hash of an op key of player 1.
pub fn op(name: &str) -> OpHash {
    OpHash::new(
        "player:1",
        &OpKey::try_from(name.to_owned()).expect("an op key"),
    )
}

/// Returns the invite code that [`raid_created`] gives a raid.
pub fn invite_code(raid: RaidId) -> String {
    format!("T{raid:0>7}")
}

pub fn raid_created(raid: RaidId) -> EventData {
    EventData::RaidCreated {
        title: format!("Raid {raid}"),
        description: None,
        invite_code: invite_code(raid),
        target_xp: 500,
        target_tasks: 10,
        time_limit_secs: 86_400,
        max_members: 4,
        late_join: true,
        ranked: false,
    }
}

pub fn joined(player: PlayerId) -> EventData {
    EventData::MemberJoined {
        player,
        name: format!("Player {player}"),
        role: Role::Member,
        xp: 0,
        tasks: 0,
        energy: 100,
        energy_at: CREATED_AT,
        joined_at: CREATED_AT,
    }
}

/// Returns the event of a player who leaves and thereby releases tasks 1 and 2.
pub fn joined_as_leader(player: PlayerId) -> EventData {
    let mut data = joined(player);
    if let EventData::MemberJoined { role, .. } = &mut data {
        *role = Role::Leader;
    }
    data
}

pub fn left(player: PlayerId) -> EventData {
    EventData::MemberLeft {
        player,
        reason: LeaveReason::Left,
        released: vec![task(1), task(2)],
    }
}

pub fn started(deadline: UnixMillis) -> EventData {
    EventData::RaidStarted { deadline }
}

/// Returns the event of a player who completes the raid's first task, number 3.
pub fn completed_task(player: PlayerId, xp: u64) -> EventData {
    EventData::TaskCompleted {
        task: task(3),
        player,
        xp,
        energy: 95,
        member_xp: xp,
        member_tasks: 1,
        current_xp: xp,
        current_tasks: 1,
    }
}

/// Returns the event of a contribution, the first that earns XP in the raid.
pub fn contributed(player: PlayerId, xp: u64) -> EventData {
    EventData::Contributed {
        player,
        xp,
        kind: "habit".into(),
        note: Some("ten push-ups".into()),
        member_xp: xp,
        member_tasks: 1,
        current_xp: xp,
        current_tasks: 1,
    }
}

/// Returns the event of a chat message.
pub fn said(text: &str) -> EventData {
    EventData::Said { text: text.into() }
}

/// Returns the event of a completed raid, with the players ranked in the given order.
pub fn won(players: &[PlayerId]) -> EventData {
    let rank = |(player, rank): (&PlayerId, u32)| Rank {
        player: *player,
        name: format!("Player {player}"),
        xp: 10,
        tasks: 1,
        rank,
    };
    EventData::RaidCompleted {
        ranking: players.iter().zip(1..).map(rank).collect(),
    }
}

/// Returns the event of a raid that failed at its deadline.
pub fn failed() -> EventData {
    EventData::RaidFailed {
        reason: FailReason::Deadline,
    }
}
