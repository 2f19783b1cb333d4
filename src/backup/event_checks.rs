//! Checks of an event's data in a backup, against the limits of the contract and the state before
//! the event. What the fold itself proves (members and tasks that are there) is left to it.

use raidhall_protocol::limits::{
    CHAT_CHARS_MAX, CONTRIBUTION_KIND_CHARS_MAX, CONTRIBUTION_XP, DESCRIPTION_CHARS_MAX, MEMBERS,
    NAME_CHARS_MAX, NOTE_CHARS_MAX, TARGET_TASKS, TARGET_XP, TASK_MINUTES, TASK_TITLE_CHARS_MAX,
    TASK_XP, TASKS_MAX, TIME_LIMIT_SECS, TITLE_CHARS_MAX,
};
use raidhall_protocol::state::{Rank, Task, TaskStatus};
use raidhall_protocol::{Event, EventData, PlayerId, RaidState, TaskId};
use serde_json::Value;

use super::checks::{Checked, count, id, number, optional, text, time};
use crate::raid::{ENERGY_MAX, State};

/// Maximum characters of an invite code.
const INVITE_CODE_CHARS_MAX: usize = 16;

/// Checks that stored data has nothing besides the fields of its event, as it was read, since it is kept
/// as it is.
pub(super) fn check_stored_form(stored: &Value, kind: &str, read: &Value) -> Checked {
    let is_read = |(field, value): (&String, &Value)| read["data"].get(field) == Some(value);
    let unread = (stored.as_object().into_iter().flatten()).find(|entry| !is_read(*entry));
    match unread {
        Some((field, _)) => Err(format!("{field}: is not a field of {kind}")),
        None => Ok(()),
    }
}

/// Checks the event that follows this state.
pub(super) fn check_data(event: &Event, state: &State) -> Checked {
    let raid = state.shown();
    let changes_tasks = matches!(
        event.data,
        EventData::TaskAdded { .. } | EventData::TaskEdited { .. } | EventData::TaskRemoved { .. }
    );
    if raid.ranked && changes_tasks && event.by.is_some() {
        return Err("by: is a player, in a ranked raid".into());
    }
    match &event.data {
        EventData::RaidCreated {
            title,
            description,
            invite_code,
            target_xp,
            target_tasks,
            time_limit_secs,
            max_members,
            late_join: _, // any value
            ranked: _,    // any value
        } => {
            text("title", title, 1..=TITLE_CHARS_MAX)?;
            optional(description, |description| {
                text("description", description, 0..=DESCRIPTION_CHARS_MAX)
            })?;
            check_invite_code(invite_code)?;
            number("target_xp", *target_xp, TARGET_XP)?;
            number("target_tasks", *target_tasks, TARGET_TASKS)?;
            number("time_limit_secs", *time_limit_secs, TIME_LIMIT_SECS)?;
            number("max_members", *max_members, MEMBERS)
        }
        EventData::MemberJoined {
            player,
            name,
            role: _, // any value
            xp,
            tasks,
            energy,
            energy_at,
            joined_at,
        } => {
            id("player", *player)?;
            if raid.members.len() >= *MEMBERS.end() as usize {
                return Err("player: is one member too many".into());
            }
            text("name", name, 1..=NAME_CHARS_MAX)?;
            part("xp", *xp, raid.current_xp)?;
            part("tasks", *tasks, raid.current_tasks)?;
            check_energy(*energy)?;
            time("energy_at", energy_at.0)?;
            time("joined_at", joined_at.0)
        }
        EventData::MemberLeft {
            player,
            reason: _, // any value
            released,
        } => {
            id("player", *player)?;
            if released.len() > raid.tasks.len() {
                return Err("released: has more tasks than the raid".into());
            }
            released.iter().try_for_each(|task| id("task", *task))
        }
        EventData::LeaderChanged {
            player,
            previous,
            reason: _, // any value
            term,
        } => {
            id("player", *player)?;
            id("previous", *previous)?;
            count("term", *term)
        }
        EventData::RaidStarted { deadline } => time("deadline", deadline.0),
        EventData::TaskAdded {
            task,
            title,
            xp,
            minutes,
        } => {
            id("task", *task)?;
            if *task != state.next_task() {
                return Err(format!("task: {task} does not follow those before it"));
            }
            if raid.tasks.len() >= TASKS_MAX {
                return Err("task: is one task too many".into());
            }
            text("title", title, 1..=TASK_TITLE_CHARS_MAX)?;
            number("xp", *xp, TASK_XP)?;
            number("minutes", *minutes, TASK_MINUTES)
        }
        EventData::TaskEdited {
            task,
            author,
            title,
            minutes,
        } => {
            id("task", *task)?;
            optional(author, |author| id("author", *author))?;
            optional(title, |title| {
                text("title", title, 1..=TASK_TITLE_CHARS_MAX)
            })?;
            optional(minutes, |minutes| number("minutes", *minutes, TASK_MINUTES))?;
            if title.is_none() && minutes.is_none() {
                return Err("title: is required unless there are minutes".into());
            }
            if event.by.is_none() {
                return Err("by: is required".into());
            }
            check_edited_task(raid, *task, *author)
        }
        EventData::TaskRemoved { task } => {
            id("task", *task)?;
            let is_found = |found: &&Task| found.id == *task;
            match raid.tasks.iter().find(is_found).map(|task| task.status) {
                Some(TaskStatus::Claimed | TaskStatus::Completed) => {
                    Err(format!("task: {task} is not open"))
                }
                Some(TaskStatus::Open) | None => Ok(()),
            }
        }
        EventData::TaskReleased { task, player } => {
            id("task", *task)?;
            id("player", *player)
        }
        EventData::TaskClaimed {
            task,
            player,
            energy,
        }
        | EventData::TaskFailed {
            task,
            player,
            energy,
        } => {
            id("task", *task)?;
            id("player", *player)?;
            check_energy(*energy)
        }
        EventData::TaskCompleted {
            task,
            player,
            xp,
            energy,
            member_xp,
            member_tasks,
            current_xp,
            current_tasks,
        } => {
            id("task", *task)?;
            number("xp", *xp, TASK_XP)?;
            check_energy(*energy)?;
            let of_raid = (*current_xp, *current_tasks);
            check_totals(raid, *player, *xp, (*member_xp, *member_tasks), of_raid)
        }
        EventData::Contributed {
            player,
            xp,
            kind,
            note,
            member_xp,
            member_tasks,
            current_xp,
            current_tasks,
        } => {
            number("xp", *xp, CONTRIBUTION_XP)?;
            text("kind", kind, 1..=CONTRIBUTION_KIND_CHARS_MAX)?;
            optional(note, |note| text("note", note, 0..=NOTE_CHARS_MAX))?;
            let of_raid = (*current_xp, *current_tasks);
            check_totals(raid, *player, *xp, (*member_xp, *member_tasks), of_raid)
        }
        EventData::MemberMuted { player, until } => {
            id("player", *player)?;
            optional(until, |until| time("until", until.0))
        }
        EventData::InviteRotated { invite_code } => check_invite_code(invite_code),
        EventData::Said { text: said } => text("text", said, 1..=CHAT_CHARS_MAX),
        EventData::RaidCompleted { ranking } => {
            if ranking.len() > raid.members.len() {
                return Err("ranking: has more players than the raid has members".into());
            }
            ranking.iter().try_for_each(|rank| check_rank(rank, raid))
        }
        EventData::RaidFailed { reason: _ } => Ok(()), // any value
        EventData::PlayerErased {
            player,
            text: erased,
            made_raid: _, // any value
        } => {
            id("player", *player)?;
            text("text", erased, 1..=NAME_CHARS_MAX)
        }
    }
}

fn check_edited_task(raid: &RaidState, id: TaskId, author: Option<PlayerId>) -> Checked {
    let task = raid.tasks.iter().find(|task| task.id == id);
    let task = task.ok_or_else(|| format!("task: {id} does not exist"))?;
    if task.status != TaskStatus::Open {
        return Err(format!("task: {id} is not open"));
    }
    if task.by != author {
        return Err(format!("author: is not the player who added task {id}"));
    }
    Ok(())
}

fn check_invite_code(code: &str) -> Checked {
    text("invite_code", code, 1..=INVITE_CODE_CHARS_MAX)
}

fn check_energy(energy: u32) -> Checked {
    number("energy", energy, 0..=ENERGY_MAX.into())
}

fn check_rank(rank: &Rank, raid: &RaidState) -> Checked {
    let Rank {
        player,
        name,
        xp,
        tasks,
        rank,
    } = rank;
    id("player", *player)?;
    text("name", name, 1..=NAME_CHARS_MAX)?;
    part("xp", *xp, raid.current_xp)?;
    part("tasks", *tasks, raid.current_tasks)?;
    number("rank", *rank, 1..=*MEMBERS.end())
}

/// Checks that a member's number is not more than the raid's.
fn part(field: &str, number: u64, whole: u64) -> Checked {
    if number <= whole {
        Ok(())
    } else {
        Err(format!("{field}: {number} is more than the raid's {whole}"))
    }
}

/// Checks that a member's and the raid's totals, each as XP and tasks, are those before plus `xp`
/// and one task.
fn check_totals(
    raid: &RaidState,
    player: PlayerId,
    xp: u64,
    of_member: (u64, u64),
    of_raid: (u64, u64),
) -> Checked {
    id("player", player)?;
    let member = raid.members.iter().find(|member| member.player == player);
    let Some(member) = member else {
        return Err(format!("player: {player} is not a member"));
    };
    if of_member != (member.xp + xp, member.tasks + 1) {
        return Err("member_xp, member_tasks: do not follow those before".into());
    }
    if of_raid != (raid.current_xp + xp, raid.current_tasks + 1) {
        return Err("current_xp, current_tasks: do not follow those before".into());
    }
    Ok(())
}
