//! What each event type changes in the state, taken line by line from the protocol's specification.

use raidhall_protocol::limits::MESSAGES_SHOWN;
use raidhall_protocol::state::{ChatMessage, Member, RaidStatus, Role, Task, TaskStatus};
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, RaidState, TaskId, UnixMillis};

use super::Contradiction;

/// Returns the state after a raid's first event.
pub(super) fn create_state(raid: RaidId, event: &Event) -> Result<RaidState, Contradiction> {
    let EventData::RaidCreated {
        title,
        description,
        invite_code,
        target_xp,
        target_tasks,
        time_limit_secs,
        max_members,
        late_join,
        ranked,
    } = &event.data
    else {
        return Err(Contradiction::MisplacedCreation);
    };
    Ok(RaidState {
        id: raid,
        title: title.clone(),
        description: description.clone(),
        invite_code: invite_code.clone(),
        status: RaidStatus::Recruiting,
        reason: None,
        target_xp: *target_xp,
        target_tasks: *target_tasks,
        current_xp: 0,
        current_tasks: 0,
        max_members: *max_members,
        late_join: *late_join,
        ranked: *ranked,
        time_limit_secs: *time_limit_secs,
        created_at: event.at,
        started_at: None,
        deadline: None,
        ended_at: None,
        leader: None,
        term: 0,
        members: Vec::new(),
        tasks: Vec::new(),
        messages: Vec::new(),
        ranking: None,
    })
}

/// Applies a later event to the state. A contradiction leaves the state unchanged.
pub(super) fn apply(state: &mut RaidState, event: &Event) -> Result<(), Contradiction> {
    let at = event.at;
    match &event.data {
        EventData::RaidCreated { .. } => return Err(Contradiction::MisplacedCreation),
        EventData::MemberJoined {
            player,
            name,
            role,
            xp,
            tasks,
            energy,
            energy_at,
            joined_at,
        } => {
            if member(state, *player).is_ok() {
                return Err(Contradiction::DuplicateMember(*player));
            }
            state.members.push(Member {
                player: *player,
                name: name.clone(),
                role: *role,
                xp: *xp,
                tasks: *tasks,
                energy: *energy,
                energy_at: *energy_at,
                joined_at: *joined_at,
                muted_until: None,
            });
            if *role == Role::Leader {
                state.leader = Some(*player);
                state.term = 1;
            }
        }
        EventData::MemberLeft {
            player, released, ..
        } => apply_leave(state, *player, released)?,
        EventData::LeaderChanged {
            player,
            previous,
            term,
            ..
        } => {
            let leader = member(state, *player)?;
            leader.role = Role::Leader;
            leader.muted_until = None;
            if let Ok(previous) = member(state, *previous) {
                previous.role = Role::Member; // a leader who left is no longer in the list
            }
            state.leader = Some(*player);
            state.term = *term;
        }
        EventData::RaidStarted { deadline } => {
            state.status = RaidStatus::Active;
            state.started_at = Some(at);
            state.deadline = Some(*deadline);
        }
        EventData::TaskAdded {
            task: id,
            title,
            xp,
            minutes,
        } => {
            if task(state, *id).is_ok() {
                return Err(Contradiction::DuplicateTask(*id));
            }
            state.tasks.push(Task {
                id: *id,
                title: title.clone(),
                xp: *xp,
                minutes: *minutes,
                status: TaskStatus::Open,
                assignee: None,
                by: event.by,
                edited_by: None,
                claimed_at: None,
                ended_at: None,
            });
        }
        EventData::TaskEdited {
            task: id,
            title,
            minutes,
            ..
        } => {
            let by = event.by.ok_or(Contradiction::MissingPlayer)?;
            let task = task(state, *id)?;
            if let Some(title) = title {
                task.title.clone_from(title);
                task.edited_by = Some(by);
            }
            task.minutes = minutes.unwrap_or(task.minutes);
        }
        EventData::TaskRemoved { task: id } => {
            task(state, *id)?;
            state.tasks.retain(|task| task.id != *id);
        }
        EventData::TaskClaimed {
            task: id,
            player,
            energy,
        } => {
            task(state, *id)?;
            set_energy(state, *player, *energy, at)?;
            let task = task(state, *id)?;
            task.status = TaskStatus::Claimed;
            task.assignee = Some(*player);
            task.claimed_at = Some(at);
        }
        EventData::TaskReleased { task: id, .. } => reopen(task(state, *id)?),
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
            task(state, *id)?;
            set_energy(state, *player, *energy, at)?;
            apply_earnings(
                state,
                *player,
                [*member_xp, *member_tasks, *current_xp, *current_tasks],
            )?;
            let task = task(state, *id)?;
            task.status = TaskStatus::Completed;
            task.ended_at = Some(at);
        }
        EventData::TaskFailed {
            task: id,
            player,
            energy,
        } => {
            task(state, *id)?;
            set_energy(state, *player, *energy, at)?;
            reopen(task(state, *id)?);
        }
        EventData::Contributed {
            player,
            member_xp,
            member_tasks,
            current_xp,
            current_tasks,
            ..
        } => {
            apply_earnings(
                state,
                *player,
                [*member_xp, *member_tasks, *current_xp, *current_tasks],
            )?;
        }
        EventData::Said { text } => {
            let by = event.by.ok_or(Contradiction::MissingPlayer)?;
            state.messages.push(ChatMessage {
                seq: event.seq,
                by,
                text: text.clone(),
                at,
            });
            let surplus = state.messages.len().saturating_sub(MESSAGES_SHOWN);
            state.messages.drain(..surplus);
        }
        EventData::MemberMuted { player, until } => member(state, *player)?.muted_until = *until,
        EventData::InviteRotated { invite_code } => state.invite_code.clone_from(invite_code),
        EventData::RaidCompleted { ranking } => {
            state.status = RaidStatus::Completed;
            state.ended_at = Some(at);
            state.ranking = Some(ranking.clone());
        }
        EventData::RaidFailed { reason } => {
            state.status = RaidStatus::Failed;
            state.ended_at = Some(at);
            state.reason = Some(*reason);
        }
        EventData::PlayerErased {
            player,
            text,
            made_raid,
        } => apply_erasure(state, *player, text, *made_raid),
    }
    Ok(())
}

fn apply_erasure(state: &mut RaidState, player: PlayerId, text: &str, made_raid: bool) {
    if made_raid {
        state.title = text.to_owned();
        state.description = None;
    }
    let members = state
        .members
        .iter_mut()
        .filter(|member| member.player == player);
    let ranked = state
        .ranking
        .iter_mut()
        .flatten()
        .filter(|rank| rank.player == player);
    let added = state
        .tasks
        .iter_mut()
        .filter(|task| task.by == Some(player) || task.edited_by == Some(player));
    let said = state
        .messages
        .iter_mut()
        .filter(|message| message.by == player);
    let texts = members
        .map(|member| &mut member.name)
        .chain(ranked.map(|rank| &mut rank.name));
    let texts = texts
        .chain(added.map(|task| &mut task.title))
        .chain(said.map(|message| &mut message.text));
    for erased in texts {
        text.clone_into(erased);
    }
}

fn apply_leave(
    state: &mut RaidState,
    player: PlayerId,
    released: &[TaskId],
) -> Result<(), Contradiction> {
    member(state, player)?;
    for id in released {
        task(state, *id)?;
    }
    for id in released {
        reopen(task(state, *id)?);
    }
    state.members.retain(|member| member.player != player);
    if state.members.is_empty() {
        state.leader = None;
    }
    Ok(())
}

fn set_energy(
    state: &mut RaidState,
    player: PlayerId,
    energy: u32,
    at: UnixMillis,
) -> Result<(), Contradiction> {
    let member = member(state, player)?;
    member.energy = energy;
    member.energy_at = at;
    Ok(())
}

fn apply_earnings(
    state: &mut RaidState,
    player: PlayerId,
    sums: [u64; 4],
) -> Result<(), Contradiction> {
    let member = member(state, player)?;
    [
        member.xp,
        member.tasks,
        state.current_xp,
        state.current_tasks,
    ] = sums;
    Ok(())
}

fn reopen(task: &mut Task) {
    task.status = TaskStatus::Open;
    task.assignee = None;
    task.claimed_at = None;
}

fn member(state: &mut RaidState, player: PlayerId) -> Result<&mut Member, Contradiction> {
    state
        .members
        .iter_mut()
        .find(|member| member.player == player)
        .ok_or(Contradiction::NotAMember(player))
}

fn task(state: &mut RaidState, id: TaskId) -> Result<&mut Task, Contradiction> {
    state
        .tasks
        .iter_mut()
        .find(|task| task.id == id)
        .ok_or(Contradiction::UnknownTask(id))
}
