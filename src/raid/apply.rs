//! Folds events into the state. No rule is checked here: a decided event has happened.

use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::limits::MESSAGES_SHOWN;
use raidhall_protocol::state::{ChatMessage, Member, RaidStatus, Role, Task, TaskStatus};
use raidhall_protocol::{Event, EventData, PlayerId, RaidState, TaskId, UnixMillis};

use super::State;
use super::state::{Former, task_index};

/// Applies one event.
///
/// # Panics
/// If the event is not the next one of this raid, or contradicts the state: then the ledger is
/// broken.
pub fn apply(state: &mut State, event: &Event) {
    assert_eq!(
        event.seq,
        state.seq.next(),
        "raid {}: an event is out of its place",
        state.shown.id
    );
    remember(state, event);
    show(&mut state.shown, event);
    state.seq = event.seq;
    state.last_at = state.last_at.max(event.at);
    state.daily_events.add(state.last_at);
}

/// Updates the part of the state that only the rules need.
fn remember(state: &mut State, event: &Event) {
    match event.data {
        EventData::MemberJoined { player, .. } => {
            state.former.remove(&player);
        }
        EventData::MemberLeft { player, reason, .. } => {
            let &mut Member {
                xp,
                tasks,
                energy,
                energy_at,
                muted_until,
                ..
            } = member(&mut state.shown, player);
            let former = match reason {
                LeaveReason::Left => Former::Left {
                    xp,
                    tasks,
                    energy,
                    energy_at,
                    muted_until,
                },
                LeaveReason::Kicked => Former::Kicked,
            };
            state.former.insert(player, former);
        }
        EventData::TaskAdded { task, .. } => state.tasks_added = task.get(),
        EventData::TaskCompleted { player, .. } | EventData::Contributed { player, .. } => {
            state.reached.insert(player, event.seq);
        }
        _ => {}
    }
}

fn show(raid: &mut RaidState, event: &Event) {
    let at = event.at;
    match &event.data {
        EventData::RaidCreated {
            title,
            description,
            invite_code,
            target_xp,
            target_tasks,
            time_limit_secs,
            max_members,
            late_join,
            ranked,
        } => {
            raid.title.clone_from(title);
            raid.description.clone_from(description);
            raid.invite_code.clone_from(invite_code);
            raid.target_xp = *target_xp;
            raid.target_tasks = *target_tasks;
            raid.time_limit_secs = *time_limit_secs;
            raid.max_members = *max_members;
            raid.late_join = *late_join;
            raid.ranked = *ranked;
            raid.created_at = at;
        }
        &EventData::MemberJoined {
            player,
            ref name,
            role,
            xp,
            tasks,
            energy,
            energy_at,
            joined_at,
        } => {
            let name = name.clone();
            raid.members.push(Member {
                player,
                name,
                role,
                xp,
                tasks,
                energy,
                energy_at,
                joined_at,
                muted_until: None,
            });
            if role == Role::Leader {
                raid.leader = Some(player);
                raid.term = 1;
            }
        }
        EventData::MemberLeft {
            player, released, ..
        } => {
            raid.members.retain(|member| member.player != *player);
            raid.leader = raid.leader.filter(|leader| leader != player);
            for id in released {
                open(task(raid, *id));
            }
        }
        EventData::LeaderChanged {
            player,
            previous,
            term,
            ..
        } => {
            // A leader who has just left is not a member any more, and has no role to change.
            if let Some(previous) = raid
                .members
                .iter_mut()
                .find(|member| member.player == *previous)
            {
                previous.role = Role::Member;
            }
            let leader = member(raid, *player);
            leader.role = Role::Leader;
            leader.muted_until = None;
            raid.leader = Some(*player);
            raid.term = *term;
        }
        EventData::RaidStarted { deadline } => {
            raid.status = RaidStatus::Active;
            raid.started_at = Some(at);
            raid.deadline = Some(*deadline);
        }
        EventData::TaskAdded {
            task,
            title,
            xp,
            minutes,
        } => raid.tasks.push(Task {
            id: *task,
            title: title.clone(),
            xp: *xp,
            minutes: *minutes,
            status: TaskStatus::Open,
            assignee: None,
            by: event.by,
            edited_by: None,
            claimed_at: None,
            ended_at: None,
        }),
        EventData::TaskEdited {
            task: id,
            title,
            minutes,
            ..
        } => {
            let task = task(raid, *id);
            if let Some(title) = title {
                task.title.clone_from(title);
                task.edited_by = event.by;
            }
            task.minutes = minutes.unwrap_or(task.minutes);
        }
        EventData::TaskRemoved { task: id } => {
            task(raid, *id); // contradicts the state unless the task is there
            raid.tasks.retain(|task| task.id != *id);
        }
        EventData::TaskClaimed {
            task: id,
            player,
            energy,
        } => {
            let task = task(raid, *id);
            task.status = TaskStatus::Claimed;
            task.assignee = Some(*player);
            task.claimed_at = Some(at);
            set_energy(member(raid, *player), *energy, at);
        }
        EventData::TaskReleased { task: id, .. } => open(task(raid, *id)),
        EventData::TaskCompleted {
            task: id,
            player,
            energy,
            member_xp,
            member_tasks,
            current_xp,
            current_tasks,
            ..
        } => {
            let task = task(raid, *id);
            task.status = TaskStatus::Completed;
            task.ended_at = Some(at);
            set_energy(member(raid, *player), *energy, at);
            credit(
                raid,
                *player,
                (*member_xp, *member_tasks),
                (*current_xp, *current_tasks),
            );
        }
        EventData::TaskFailed {
            task: id,
            player,
            energy,
        } => {
            open(task(raid, *id));
            set_energy(member(raid, *player), *energy, at);
        }
        EventData::Contributed {
            player,
            member_xp,
            member_tasks,
            current_xp,
            current_tasks,
            ..
        } => {
            credit(
                raid,
                *player,
                (*member_xp, *member_tasks),
                (*current_xp, *current_tasks),
            );
        }
        EventData::Said { text } => {
            raid.messages.push(ChatMessage {
                seq: event.seq,
                by: actor(event),
                text: text.clone(),
                at,
            });
            let surplus = raid.messages.len().saturating_sub(MESSAGES_SHOWN);
            raid.messages.drain(..surplus);
        }
        EventData::MemberMuted { player, until } => member(raid, *player).muted_until = *until,
        EventData::InviteRotated { invite_code } => raid.invite_code.clone_from(invite_code),
        EventData::RaidCompleted { ranking } => {
            raid.status = RaidStatus::Completed;
            raid.ended_at = Some(at);
            raid.ranking = Some(ranking.clone());
        }
        EventData::RaidFailed { reason } => {
            raid.status = RaidStatus::Failed;
            raid.ended_at = Some(at);
            raid.reason = Some(*reason);
        }
        EventData::PlayerErased {
            player,
            text,
            made_raid,
        } => erase(raid, *player, text, *made_raid),
    }
}

fn erase(raid: &mut RaidState, player: PlayerId, text: &str, made_raid: bool) {
    if made_raid {
        text.clone_into(&mut raid.title);
        raid.description = None;
    }
    for erased in texts_of(raid, player) {
        text.clone_into(erased);
    }
}

/// Returns all texts of a player except the title and description of a raid that they created.
fn texts_of(raid: &mut RaidState, player: PlayerId) -> impl Iterator<Item = &mut String> {
    let names = raid
        .members
        .iter_mut()
        .filter(move |member| member.player == player)
        .map(|member| &mut member.name);
    let ranked = raid
        .ranking
        .iter_mut()
        .flatten()
        .filter(move |rank| rank.player == player);
    let tasks = raid
        .tasks
        .iter_mut()
        .filter(move |task| task.by == Some(player) || task.edited_by == Some(player))
        .map(|task| &mut task.title);
    let said = raid
        .messages
        .iter_mut()
        .filter(move |message| message.by == player);
    names
        .chain(ranked.map(|rank| &mut rank.name))
        .chain(tasks)
        .chain(said.map(|message| &mut message.text))
}

fn open(task: &mut Task) {
    task.status = TaskStatus::Open;
    task.assignee = None;
    task.claimed_at = None;
}

const fn set_energy(member: &mut Member, energy: u32, at: UnixMillis) {
    member.energy = energy;
    member.energy_at = at;
}

/// Sets a member's and the raid's totals, each as XP and tasks.
fn credit(raid: &mut RaidState, player: PlayerId, of_member: (u64, u64), of_raid: (u64, u64)) {
    let member = member(raid, player);
    (member.xp, member.tasks) = of_member;
    (raid.current_xp, raid.current_tasks) = of_raid;
}

fn member(raid: &mut RaidState, player: PlayerId) -> &mut Member {
    let found = raid
        .members
        .iter_mut()
        .find(|member| member.player == player);
    found.expect("an event names members who are there")
}

fn task(raid: &mut RaidState, task: TaskId) -> &mut Task {
    let index = task_index(raid, task).expect("an event names tasks that are there");
    &mut raid.tasks[index]
}

fn actor(event: &Event) -> PlayerId {
    event.by.expect("a player acts")
}
