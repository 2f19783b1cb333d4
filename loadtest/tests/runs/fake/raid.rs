//! One raid of the fake server: its events, its watchers, and as few rules as the bots need.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use raidhall_loadtest::fold::Fold;
use raidhall_protocol::event::{LeaderReason, LeaveReason};
use raidhall_protocol::state::{Member, Rank, Role, Task, TaskStatus};
use raidhall_protocol::{
    Command, ErrorType, Event, EventData, OpKey, PlayerId, RaidId, RaidState, Seq, ServerMessage,
    TaskId, UnixMillis,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use super::world::FakeFault;

pub(super) type MessageSender = UnboundedSender<Arc<ServerMessage>>;

pub(super) struct FakeRaid {
    pub(super) id: RaidId,
    pub(super) fold: Fold,
    pub(super) ops: HashMap<(PlayerId, OpKey), Seq>,
    pub(super) watchers: Vec<FakeWatcher>,
    events: Vec<Event>,
}

pub(super) struct FakeWatcher {
    pub(super) id: u64,
    pub(super) player: PlayerId,
    pub(super) sender: MessageSender,
}

impl FakeRaid {
    pub(super) fn new(id: RaidId) -> FakeRaid {
        FakeRaid {
            id,
            fold: Fold::new(id),
            ops: HashMap::new(),
            watchers: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(super) fn state(&self) -> &RaidState {
        self.fold.state().unwrap()
    }

    pub(super) fn view(&self) -> Value {
        let mut view = serde_json::to_value(self.state()).unwrap();
        view["seq"] = json!(self.fold.seq());
        view["online"] = json!(self.online());
        view["ws_url"] = json!("");
        view
    }

    pub(super) fn events_after(&self, seq: Seq) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.seq > seq)
    }

    /// Returns XP and tasks of a player, who need not be a member.
    pub(super) fn totals_of(&self, player: PlayerId) -> (u64, u64) {
        let earned = self.events.iter().filter_map(|event| event.data.earned());
        earned
            .filter(|(earner, _)| *earner == player)
            .fold((0, 0), |had, (_, xp)| (had.0 + xp, had.1 + 1))
    }

    pub(super) fn online(&self) -> Vec<PlayerId> {
        let members: BTreeSet<_> = self
            .state()
            .members
            .iter()
            .map(|member| member.player)
            .collect();
        let watching: BTreeSet<_> = self.watchers.iter().map(|watcher| watcher.player).collect();
        members.intersection(&watching).copied().collect()
    }

    pub(super) fn broadcast(&self, message: &ServerMessage, except: Option<PlayerId>) {
        let message = Arc::new(message.clone());
        for watcher in self
            .watchers
            .iter()
            .filter(|watcher| Some(watcher.player) != except)
        {
            let _ = watcher.sender.send(Arc::clone(&message));
        }
    }

    pub(super) fn commit(&mut self, fault: FakeFault, by: PlayerId, data: Vec<EventData>) {
        for data in data {
            let seq = self.fold.seq().next();
            let event = Event {
                seq,
                at: UnixMillis(i64::try_from(seq.0).unwrap()),
                by: Some(by),
                data,
            };
            self.fold.apply(&event).unwrap();
            self.events.push(event.clone());
            let skipped =
                (fault == FakeFault::SkipsEvents && seq.0.is_multiple_of(20)).then_some(by);
            self.broadcast(
                &ServerMessage::Event {
                    raid: self.id,
                    event,
                },
                skipped,
            );
        }
    }

    pub(super) fn decide(
        &self,
        by: PlayerId,
        command: &Command,
    ) -> Result<Vec<EventData>, ErrorType> {
        let state = self.state();
        let me = state
            .members
            .iter()
            .find(|member| member.player == by)
            .ok_or(ErrorType::NotFound)?;
        let task = |id: &TaskId| {
            state
                .tasks
                .iter()
                .find(|task| task.id == *id)
                .ok_or(ErrorType::NotFound)
        };
        let event = match command {
            Command::Say { text } => EventData::Said { text: text.clone() },
            _ if state.status.ended() => return Err(ErrorType::WrongStatus),
            Command::Start if state.started_at.is_none() => EventData::RaidStarted {
                deadline: UnixMillis(1 << 50),
            },
            Command::AddTask { title, xp, minutes } => EventData::TaskAdded {
                task: TaskId::try_from(state.tasks.len() as u64 + 1).unwrap(),
                title: title.clone(),
                xp: xp.unsigned_abs(),
                minutes: u32::try_from(*minutes).unwrap(),
            },
            Command::ClaimTask { task: id } => {
                if task(id)?.status != TaskStatus::Open {
                    return Err(ErrorType::TaskTaken);
                }
                let energy = me
                    .energy
                    .checked_sub(10)
                    .ok_or(ErrorType::NotEnoughEnergy)?;
                EventData::TaskClaimed {
                    task: *id,
                    player: by,
                    energy,
                }
            }
            Command::ReleaseTask { task: id } => {
                check_claimed(task(id)?, by)?;
                EventData::TaskReleased {
                    task: *id,
                    player: by,
                }
            }
            Command::FailTask { task: id } => {
                check_claimed(task(id)?, by)?;
                EventData::TaskFailed {
                    task: *id,
                    player: by,
                    energy: me.energy.saturating_sub(15),
                }
            }
            Command::CompleteTask { task: id } => {
                check_claimed(task(id)?, by)?;
                return Ok(self.completion_events(task(id)?, me));
            }
            Command::Promote { player } if state.leader == Some(by) => {
                let player = *player;
                let previous = by;
                let term = state.term + 1;
                EventData::LeaderChanged {
                    player,
                    previous,
                    reason: LeaderReason::Promoted,
                    term,
                }
            }
            Command::Leave => {
                let mine = state
                    .tasks
                    .iter()
                    .filter(|task| check_claimed(task, by).is_ok());
                let released = mine.map(|task| task.id).collect();
                EventData::MemberLeft {
                    player: by,
                    reason: LeaveReason::Left,
                    released,
                }
            }
            _ => return Err(ErrorType::WrongStatus),
        };
        Ok(vec![event])
    }

    fn completion_events(&self, task: &Task, me: &Member) -> Vec<EventData> {
        let state = self.state();
        let current_xp = state.current_xp + task.xp;
        let current_tasks = state.current_tasks + 1;
        let completed = EventData::TaskCompleted {
            task: task.id,
            player: me.player,
            xp: task.xp,
            energy: me.energy + 5,
            member_xp: me.xp + task.xp,
            member_tasks: me.tasks + 1,
            current_xp,
            current_tasks,
        };
        if current_xp < state.target_xp || current_tasks < state.target_tasks {
            return vec![completed];
        }
        let rank = Rank {
            player: me.player,
            name: me.name.clone(),
            xp: task.xp,
            tasks: 1,
            rank: 1,
        };
        vec![
            completed,
            EventData::RaidCompleted {
                ranking: vec![rank],
            },
        ]
    }
}

fn check_claimed(task: &Task, by: PlayerId) -> Result<(), ErrorType> {
    let mine = task.status == TaskStatus::Claimed && task.assignee == Some(by);
    if mine {
        Ok(())
    } else {
        Err(ErrorType::NotYours)
    }
}

pub(super) fn joined_event(
    player: PlayerId,
    name: String,
    role: Role,
    (xp, tasks): (u64, u64),
) -> EventData {
    let at = UnixMillis(0);
    EventData::MemberJoined {
        player,
        name,
        role,
        xp,
        tasks,
        energy: 100,
        energy_at: at,
        joined_at: at,
    }
}
