//! Decides commands on tasks: add, edit, remove, claim, release, complete and fail.

use raidhall_protocol::limits::{TASK_MINUTES, TASK_TITLE_CHARS_MAX, TASK_XP, TASKS_MAX};
use raidhall_protocol::state::{RaidStatus, Task, TaskStatus};
use raidhall_protocol::{EventData, PlayerId, TaskId, UnixMillis};

use super::contributions::Earned;
use super::{Act, Decision, Draft};
use crate::raid::state::State;
use crate::raid::values::Values;
use crate::raid::{Refusal, energy};

pub(super) fn add(act: &Act<'_>, title: &str, xp: i64, minutes: i64) -> Decision {
    act.require_unranked()?;
    let added = new_task(act.state, act.at, title, xp, minutes)?;
    let tasks = act.state.shown.tasks.iter();
    let own_count = tasks.filter(|task| task.by == Some(act.by())).count();
    if own_count >= act.quotas.member_tasks_max {
        return Err(Refusal::QuotaExceeded);
    }
    act.causes(added)
}

pub(super) fn add_for_service(
    state: &State,
    at: UnixMillis,
    title: &str,
    xp: i64,
    minutes: i64,
) -> Decision {
    let added = new_task(state, at, title, xp, minutes)?;
    Ok(Draft::new(state, at, None).with(added).events)
}

fn new_task(
    state: &State,
    at: UnixMillis,
    title: &str,
    xp: i64,
    minutes: i64,
) -> Result<EventData, Refusal> {
    let mut values = Values::default();
    let title = values.name("title", title, TASK_TITLE_CHARS_MAX);
    let xp = values.number("xp", xp, TASK_XP);
    let minutes = values.number("minutes", minutes, TASK_MINUTES);
    values.finish()?;
    if state.status_at(at).ended() {
        return Err(Refusal::WrongStatus);
    }
    if state.shown.tasks.len() >= TASKS_MAX {
        return Err(Refusal::TooManyTasks);
    }
    Ok(EventData::TaskAdded {
        task: state.next_task(),
        title,
        xp,
        minutes,
    })
}

/// Changes an open task.
pub(super) fn edit(
    act: &Act<'_>,
    task: TaskId,
    title: Option<&str>,
    minutes: Option<i64>,
) -> Decision {
    act.require_unranked()?;
    let mut values = Values::default();
    if title.is_none() && minutes.is_none() {
        values.fault("title", "is required unless there are minutes");
    }
    let title = title.map(|title| values.name("title", title, TASK_TITLE_CHARS_MAX));
    let minutes = minutes.map(|minutes| values.number("minutes", minutes, TASK_MINUTES));
    values.finish()?;
    act.require_not_ended()?;
    let found = find_changeable(act, task)?;
    if found.status != TaskStatus::Open {
        return Err(Refusal::WrongStatus);
    }
    act.causes(EventData::TaskEdited {
        task,
        author: found.by,
        title,
        minutes,
    })
}

/// Removes an uncompleted task; only the leader removes one that is claimed.
pub(super) fn remove(act: &Act<'_>, task: TaskId) -> Decision {
    act.require_unranked()?;
    act.require_not_ended()?;
    let found = find_changeable(act, task)?;
    match found.status {
        TaskStatus::Open => {}
        TaskStatus::Claimed if act.is_leader() => {}
        TaskStatus::Claimed | TaskStatus::Completed => return Err(Refusal::WrongStatus),
    }
    Ok(draft_removal(act.draft(), found, found.assignee).events)
}

/// Removes an uncompleted task that the host app's backend added.
pub(super) fn remove_for_service(state: &State, at: UnixMillis, task: TaskId) -> Decision {
    if state.status_at(at).ended() {
        return Err(Refusal::WrongStatus);
    }
    let found = find(state, task)?;
    if found.by.is_some() {
        return Err(Refusal::NotYours);
    }
    if found.status == TaskStatus::Completed {
        return Err(Refusal::WrongStatus);
    }
    let draft = Draft::new(state, at, None);
    Ok(draft_removal(draft, found, found.assignee).events)
}

/// Drafts the removal of every uncompleted task that a player added, after the player has left.
pub(super) fn draft_removals(draft: Draft, state: &State, author: PlayerId) -> Draft {
    let tasks = state.shown.tasks.iter();
    tasks
        .filter(|task| task.by == Some(author) && task.status != TaskStatus::Completed)
        .fold(draft, |draft, task| {
            draft_removal(
                draft,
                task,
                task.assignee.filter(|player| *player != author),
            )
        })
}

/// Drafts the removal of a task, and before it the release of its claim.
fn draft_removal(draft: Draft, task: &Task, claimed_by: Option<PlayerId>) -> Draft {
    let draft = match claimed_by {
        Some(player) => draft.with(EventData::TaskReleased {
            task: task.id,
            player,
        }),
        None => draft,
    };
    draft.with(EventData::TaskRemoved { task: task.id })
}

/// Claims an open task. A claimed task is refused as taken, even to the member who has claimed it.
pub(super) fn claim(act: &Act<'_>, task: TaskId) -> Decision {
    act.require_status(RaidStatus::Active)?;
    match find(act.state, task)?.status {
        TaskStatus::Open => {}
        TaskStatus::Claimed => return Err(Refusal::TaskTaken),
        TaskStatus::Completed => return Err(Refusal::WrongStatus),
    }
    let energy = energy::at(act.member, act.at)
        .checked_sub(energy::CLAIM)
        .ok_or(Refusal::NotEnoughEnergy)?;
    act.causes(EventData::TaskClaimed {
        task,
        player: act.by(),
        energy,
    })
}

pub(super) fn release(act: &Act<'_>, task: TaskId) -> Decision {
    act.require_not_ended()?;
    let found = find(act.state, task)?;
    let Some(player) = found
        .assignee
        .filter(|_| found.status == TaskStatus::Claimed)
    else {
        return Err(Refusal::WrongStatus);
    };
    if player != act.by() && !act.is_leader() {
        return Err(Refusal::NotYours);
    }
    act.causes(EventData::TaskReleased { task, player })
}

pub(super) fn complete(act: &Act<'_>, task: TaskId) -> Decision {
    let xp = find_own(act, task)?.xp;
    let earned = Earned::new(act.state, act.member, xp);
    let completed = EventData::TaskCompleted {
        task,
        player: act.by(),
        xp,
        energy: (energy::at(act.member, act.at) + energy::COMPLETION).min(energy::FULL),
        member_xp: earned.member_xp,
        member_tasks: earned.member_tasks,
        current_xp: earned.current_xp,
        current_tasks: earned.current_tasks,
    };
    Ok(earned.conclude(act.state, act.draft().with(completed)))
}

pub(super) fn fail(act: &Act<'_>, task: TaskId) -> Decision {
    find_own(act, task)?;
    let energy = energy::at(act.member, act.at).saturating_sub(energy::FAILURE);
    act.causes(EventData::TaskFailed {
        task,
        player: act.by(),
        energy,
    })
}

/// Returns a task that the member has claimed in an active raid. An open task is refused as not
/// theirs.
fn find_own<'a>(act: &Act<'a>, task: TaskId) -> Result<&'a Task, Refusal> {
    act.require_status(RaidStatus::Active)?;
    let task = find(act.state, task)?;
    match task.status {
        TaskStatus::Completed => Err(Refusal::WrongStatus),
        TaskStatus::Claimed if task.assignee == Some(act.by()) => Ok(task),
        TaskStatus::Claimed | TaskStatus::Open => Err(Refusal::NotYours),
    }
}

/// Returns a task that the member may edit and remove: their own, or any for the leader.
fn find_changeable<'a>(act: &Act<'a>, task: TaskId) -> Result<&'a Task, Refusal> {
    let task = find(act.state, task)?;
    if act.is_leader() || task.by == Some(act.by()) {
        Ok(task)
    } else {
        Err(Refusal::NotYours)
    }
}

fn find(state: &State, task: TaskId) -> Result<&Task, Refusal> {
    state.task(task).ok_or(Refusal::NotFound)
}
