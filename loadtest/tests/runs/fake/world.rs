//! The world of the fake servers: its raids and their watchers, and the one fault that it has.

use std::sync::Arc;

use parking_lot::Mutex;
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::server::UnwatchReason;
use raidhall_protocol::state::Role;
use raidhall_protocol::{
    Command, ErrorBody, EventData, OpKey, PlayerId, RaidId, Seq, ServerMessage,
};
use serde_json::{Value, json};

use super::raid::{FakeRaid, FakeWatcher, MessageSender, joined_event};

/// The fault of a fake server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FakeFault {
    None,
    /// Now and then a connection breaks between a commit and its ack, which is allowed.
    CutsConnections,
    SkipsEvents,
    AcksBeforeEvents,
    RepeatsEffects,
    LosesEvents,
    /// Connections break, and repeated commands are not recognised.
    ForgetsOps,
    /// Connections break, and every resume is answered with a snapshot.
    NeverReplays,
}

/// Upper bound of the cuts, so that the run can settle.
const CUTS_MAX: u32 = 12;

pub(super) struct FakeWorld {
    fault: FakeFault,
    inner: Mutex<FakeWorldState>,
}

#[derive(Default)]
struct FakeWorldState {
    names: Vec<String>,
    raids: Vec<FakeRaid>,
    cut_count: u32,
    watch_count: u64,
}

impl FakeWorldState {
    fn raid(&mut self, id: RaidId) -> &mut FakeRaid {
        &mut self.raids[usize::try_from(id.get() - 1).unwrap()]
    }

    fn name(&self, player: PlayerId) -> String {
        self.names[usize::try_from(player.get() - 1).unwrap()].clone()
    }
}

impl FakeWorld {
    pub(super) fn new(fault: FakeFault) -> FakeWorld {
        FakeWorld {
            fault,
            inner: Mutex::default(),
        }
    }

    pub(super) fn name(&self, player: PlayerId) -> String {
        self.inner.lock().name(player)
    }

    pub(super) fn sign_in_guest(&self, name: &str) -> Value {
        let mut inner = self.inner.lock();
        inner.names.push(name.to_owned());
        let id = inner.names.len();
        json!({ "access_token": id.to_string(), "refresh_token": "r", "expires_in": 3600,
                "player": { "id": id, "name": name } })
    }

    pub(super) fn profile(&self, player: PlayerId) -> Value {
        let inner = self.inner.lock();
        let (xp, tasks) = inner
            .raids
            .iter()
            .map(|raid| raid.totals_of(player))
            .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        json!({ "id": player, "name": "x", "xp": xp, "tasks": tasks, "raids_won": 0, "created_at": 0 })
    }

    pub(super) fn create(&self, leader: PlayerId, new: NewRaid) -> Value {
        let mut inner = self.inner.lock();
        let name = inner.name(leader);
        let id = RaidId::try_from(inner.raids.len() as u64 + 1).unwrap();
        inner.raids.push(FakeRaid::new(id));
        let created = EventData::RaidCreated {
            title: new.title,
            description: new.description,
            invite_code: id.to_string(),
            target_xp: new.target_xp.unsigned_abs(),
            target_tasks: new.target_tasks.unsigned_abs(),
            time_limit_secs: 86_400,
            max_members: 100,
            late_join: true,
            ranked: false,
        };
        let raid = inner.raid(id);
        raid.commit(
            self.fault,
            leader,
            vec![created, joined_event(leader, name, Role::Leader, (0, 0))],
        );
        raid.view()
    }

    pub(super) fn join(&self, player: PlayerId, code: &str) -> Value {
        let mut inner = self.inner.lock();
        let name = inner.name(player);
        let raid = inner
            .raids
            .iter_mut()
            .find(|raid| raid.id.to_string() == code)
            .unwrap();
        if raid
            .state()
            .members
            .iter()
            .all(|member| member.player != player)
        {
            let had = raid.totals_of(player);
            raid.commit(
                self.fault,
                player,
                vec![joined_event(player, name, Role::Member, had)],
            );
        }
        raid.view()
    }

    pub(super) fn view(&self, raid: RaidId) -> Value {
        self.inner.lock().raid(raid).view()
    }

    pub(super) fn events(&self, raid: RaidId, after: Seq) -> Value {
        let mut inner = self.inner.lock();
        let rows: Vec<_> = inner.raid(raid).events_after(after).take(100).collect();
        serde_json::to_value(rows).unwrap()
    }

    pub(super) fn contributions(&self, raid: RaidId, after: Seq) -> Value {
        let mut inner = self.inner.lock();
        let row = |event: &raidhall_protocol::Event| {
            let EventData::TaskCompleted {
                task, player, xp, ..
            } = event.data
            else {
                return None;
            };
            Some(
                json!({ "seq": event.seq, "at": event.at, "player": player, "xp": xp,
                         "kind": "task_complete", "task": task, "note": null }),
            )
        };
        Value::Array(
            inner
                .raid(raid)
                .events_after(after)
                .filter_map(row)
                .take(100)
                .collect(),
        )
    }

    pub(super) fn watch(
        &self,
        raid: RaidId,
        player: PlayerId,
        since: Option<Seq>,
        out: MessageSender,
    ) -> u64 {
        let mut inner = self.inner.lock();
        inner.watch_count += 1;
        let number = inner.watch_count;
        let raid = inner.raid(raid);
        let is_new = !raid.online().contains(&player);
        raid.watchers.push(FakeWatcher {
            id: number,
            player,
            sender: out.clone(),
        });
        let id = raid.id;
        let seq = raid.fold.seq();
        let online = raid.online();
        let since = since.filter(|_| self.fault != FakeFault::NeverReplays);
        let first = match since {
            Some(_) => ServerMessage::Watching {
                id: None,
                raid: id,
                seq,
                recovered: true,
                online,
            },
            None => {
                let state = Box::new(raid.state().clone());
                ServerMessage::Snapshot {
                    id: None,
                    raid: id,
                    seq,
                    recovered: false,
                    online,
                    state,
                }
            }
        };
        let _ = out.send(Arc::new(first));
        for event in raid.events_after(since.unwrap_or(seq)) {
            let _ = out.send(Arc::new(ServerMessage::Event {
                raid: id,
                event: event.clone(),
            }));
        }
        if is_new {
            let presence = ServerMessage::Presence {
                raid: id,
                online: vec![player],
                offline: vec![],
            };
            raid.broadcast(&presence, Some(player));
        }
        number
    }

    pub(super) fn unwatch(&self, raid: RaidId, number: u64) {
        let mut inner = self.inner.lock();
        let raid = inner.raid(raid);
        let Some(at) = raid
            .watchers
            .iter()
            .position(|watcher| watcher.id == number)
        else {
            return;
        };
        let player = raid.watchers.remove(at).player;
        if !raid.online().contains(&player) {
            let presence = ServerMessage::Presence {
                raid: raid.id,
                online: vec![],
                offline: vec![player],
            };
            raid.broadcast(&presence, None);
        }
    }

    pub(super) fn signal(&self, raid: RaidId, from: PlayerId, signal: &ServerMessage) {
        self.inner.lock().raid(raid).broadcast(signal, Some(from));
    }

    /// Executes a command and replies. Returns false when the connection must break between the
    /// two.
    pub(super) fn handle_command(
        &self,
        raid: RaidId,
        by: PlayerId,
        (id, op, command): (u64, Option<OpKey>, &Command),
        out: &MessageSender,
    ) -> bool {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        let fault = self.fault;
        let cuts = &mut inner.cut_count;
        let raid = &mut inner.raids[usize::try_from(raid.get() - 1).unwrap()];
        let raid_id = raid.id;
        let answer = |seq, duplicate| {
            let _ = out.send(Arc::new(ServerMessage::Ack {
                id,
                raid: raid_id,
                seq,
                duplicate,
            }));
            true
        };
        let key = op
            .map(|op| (by, op))
            .filter(|_| fault != FakeFault::ForgetsOps);
        if let Some(seq) = key.as_ref().and_then(|key| raid.ops.get(key)) {
            return answer(*seq, true);
        }
        let mut events = match raid.decide(by, command) {
            Ok(events) => events,
            Err(why) => {
                let re = "do".to_owned();
                let error = ErrorBody::new(why, "refused");
                let error = ServerMessage::Error {
                    re,
                    id: Some(id),
                    raid: Some(raid_id),
                    player: None,
                    error,
                };
                let _ = out.send(Arc::new(error));
                return true;
            }
        };
        let last = Seq(raid.fold.seq().0 + events.len() as u64);
        let wrong = matches!(command, Command::Say { .. }) && last.0.is_multiple_of(5);
        if wrong && fault == FakeFault::LosesEvents {
            return answer(raid.fold.seq(), false);
        }
        if wrong && fault == FakeFault::RepeatsEffects {
            events.push(events[0].clone());
        }
        if fault == FakeFault::AcksBeforeEvents {
            answer(last, false);
        }
        raid.commit(fault, by, events);
        raid.ops.extend(key.map(|key| (key, raid.fold.seq())));
        if matches!(command, Command::Leave) {
            raid.watchers.retain(|watcher| watcher.player != by);
            let left = ServerMessage::Unwatched {
                id: None,
                raid: raid_id,
                reason: UnwatchReason::Left,
            };
            let _ = out.send(Arc::new(left));
        }
        let cutting = matches!(
            fault,
            FakeFault::CutsConnections | FakeFault::ForgetsOps | FakeFault::NeverReplays
        );
        if cutting && wrong && *cuts < CUTS_MAX {
            *cuts += 1;
            return false;
        }
        fault == FakeFault::AcksBeforeEvents || answer(raid.fold.seq(), false)
    }
}
