//! Decides commands: which events a command causes, or why it is refused.
//!
//! If several rules refuse a command, the refusal is the first of these, for every command: the
//! raid is not visible to the caller (`not_found`), no caller of this kind may send the command
//! (`forbidden`), faulty values (`invalid`, with all of them), not the leader (`not_leader`), the
//! raid's status (`wrong_status`), a named member or task does not exist (`not_member`, `not_found`
//! for a task), the task's status or owner, and an exhausted resource (places, tasks, energy), the
//! raid's events of the day last.
//!
//! All events of one decision have the same time and the same `by`.

mod chat;
mod contributions;
mod erasure;
mod lifecycle;
mod membership;
mod tasks;

use std::collections::BTreeSet;

use raidhall_protocol::state::{Member, RaidStatus, Role};
use raidhall_protocol::{Command as PlayerCommand, Event, EventData, PlayerId, Seq, UnixMillis};

use super::{Context, Quotas, RaidCommand, Refusal, State};

type Decision = Result<Vec<Event>, Refusal>;

/// Returns the events that a command causes, numbered and stamped but not yet applied. The result
/// is empty if nothing has to change: a member joins again or is muted until the same time, or a
/// timer fired without need.
///
/// An event is never stamped earlier than the one before it, whatever the clock says. A passed
/// deadline must be decided before anything else; until then, all other commands find a raid that
/// has failed.
pub fn decide(
    state: &State,
    command: &RaidCommand,
    context: Context<'_>,
) -> Result<Vec<Event>, Refusal> {
    let at = context.now.max(state.last_at());
    let events = decide_at(state, command, context, at)?;
    // A clock that was ahead before has put events into a day that may still be far away.
    let is_clock_behind = context.now < state.last_at();
    if events.is_empty() || is_clock_behind {
        return Ok(events);
    }
    match daily_events_max(command, context.quotas) {
        Some(max) if state.daily_events.count_at(at) >= max => Err(Refusal::QuotaExceeded),
        _ => Ok(events),
    }
}

/// Returns the number of the raid's events in a UTC day from which on the command is refused. Chat
/// messages and changes of tasks leave as many events again for the other commands, so that no
/// member can stop the raid for a day. Members can always leave, and a leader can always remove
/// members and tasks and cancel the raid.
fn daily_events_max(command: &RaidCommand, quotas: Quotas) -> Option<u64> {
    let max = quotas.daily_events_max;
    match command {
        RaidCommand::Join { .. } => Some(max.saturating_mul(2)),
        RaidCommand::Player { command, .. } => match command {
            PlayerCommand::Say { .. }
            | PlayerCommand::AddTask { .. }
            | PlayerCommand::EditTask { .. } => Some(max),
            PlayerCommand::Leave
            | PlayerCommand::Kick { .. }
            | PlayerCommand::RemoveTask { .. }
            | PlayerCommand::Cancel => None,
            _ => Some(max.saturating_mul(2)),
        },
        _ => None,
    }
}

fn decide_at(
    state: &State,
    command: &RaidCommand,
    context: Context<'_>,
    at: UnixMillis,
) -> Decision {
    match command {
        RaidCommand::Create {
            leader,
            invite_code,
            raid,
        } => lifecycle::create(state, at, leader, invite_code, raid),
        RaidCommand::Join { player } => membership::join(state, at, player),
        RaidCommand::Player { by, command } => {
            let member = state.member(*by).ok_or(Refusal::NotFound)?;
            decide_act(
                &Act {
                    state,
                    at,
                    member,
                    online: context.online,
                    new_invite_code: context.new_invite_code,
                    quotas: context.quotas,
                },
                command,
            )
        }
        RaidCommand::Service { command } => decide_for_service(state, at, command),
        RaidCommand::End => lifecycle::end(state, at),
        RaidCommand::Erase { player, made_raid } => {
            erasure::erase(state, at, context, *player, *made_raid)
        }
        RaidCommand::Deadline => Ok(lifecycle::deadline(state, at)),
        RaidCommand::LeaderOffline => Ok(membership::leader_offline(state, at, context.online)),
    }
}

fn decide_act(act: &Act<'_>, command: &PlayerCommand) -> Decision {
    match command {
        PlayerCommand::Start => lifecycle::start(act),
        PlayerCommand::Cancel => lifecycle::cancel(act),
        PlayerCommand::Leave => membership::leave(act),
        PlayerCommand::Kick { player } => membership::kick(act, *player),
        PlayerCommand::Promote { player } => membership::promote(act, *player),
        PlayerCommand::Mute { player, until } => membership::mute(act, *player, *until),
        PlayerCommand::RotateInvite => membership::rotate_invite(act),
        PlayerCommand::AddTask { title, xp, minutes } => tasks::add(act, title, *xp, *minutes),
        PlayerCommand::EditTask {
            task,
            title,
            minutes,
        } => tasks::edit(act, *task, title.as_deref(), *minutes),
        PlayerCommand::RemoveTask { task } => tasks::remove(act, *task),
        PlayerCommand::ClaimTask { task } => tasks::claim(act, *task),
        PlayerCommand::ReleaseTask { task } => tasks::release(act, *task),
        PlayerCommand::CompleteTask { task } => tasks::complete(act, *task),
        PlayerCommand::FailTask { task } => tasks::fail(act, *task),
        PlayerCommand::Contribute { .. } => Err(Refusal::Forbidden),
        PlayerCommand::Say { text } => chat::say(act, text),
    }
}

/// Decides a command of the host app's backend.
fn decide_for_service(state: &State, at: UnixMillis, command: &PlayerCommand) -> Decision {
    if state.is_empty() {
        return Err(Refusal::NotFound);
    }
    match command {
        PlayerCommand::Contribute {
            player,
            xp,
            kind,
            note,
        } => contributions::contribute(state, at, *player, *xp, kind, note.as_deref()),
        PlayerCommand::AddTask { title, xp, minutes } => {
            tasks::add_for_service(state, at, title, *xp, *minutes)
        }
        PlayerCommand::RemoveTask { task } => tasks::remove_for_service(state, at, *task),
        _ => Err(Refusal::Forbidden),
    }
}

/// A member's command in its context: the state, the time, the online members, a new invite code, and
/// the limits.
struct Act<'a> {
    state: &'a State,
    at: UnixMillis,
    member: &'a Member,
    online: &'a BTreeSet<PlayerId>,
    new_invite_code: &'a str,
    quotas: Quotas,
}

impl Act<'_> {
    const fn by(&self) -> PlayerId {
        self.member.player
    }

    const fn is_leader(&self) -> bool {
        matches!(self.member.role, Role::Leader)
    }

    fn require_leader(&self) -> Result<(), Refusal> {
        if self.is_leader() {
            Ok(())
        } else {
            Err(Refusal::NotLeader)
        }
    }

    /// Refuses to change the tasks of a ranked raid, which only the host app's backend may.
    fn require_unranked(&self) -> Result<(), Refusal> {
        if self.state.shown.ranked {
            Err(Refusal::Forbidden)
        } else {
            Ok(())
        }
    }

    fn require_status(&self, status: RaidStatus) -> Result<(), Refusal> {
        if self.state.status_at(self.at) == status {
            Ok(())
        } else {
            Err(Refusal::WrongStatus)
        }
    }

    fn require_not_ended(&self) -> Result<(), Refusal> {
        if self.state.status_at(self.at).ended() {
            Err(Refusal::WrongStatus)
        } else {
            Ok(())
        }
    }

    fn draft(&self) -> Draft {
        Draft::new(self.state, self.at, Some(self.by()))
    }

    fn causes(&self, data: EventData) -> Decision {
        Ok(self.draft().with(data).events)
    }
}

/// Builder of one decision's events, which numbers and stamps them as they are added.
struct Draft {
    last: Seq,
    at: UnixMillis,
    by: Option<PlayerId>,
    events: Vec<Event>,
}

impl Draft {
    const fn new(state: &State, at: UnixMillis, by: Option<PlayerId>) -> Draft {
        Draft {
            last: state.seq(),
            at,
            by,
            events: Vec::new(),
        }
    }

    fn with(mut self, data: EventData) -> Draft {
        self.last = self.last.next();
        self.events.push(Event {
            seq: self.last,
            at: self.at,
            by: self.by,
            data,
        });
        self
    }
}
