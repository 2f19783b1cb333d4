//! Decides who joins, who leaves, who leads and who is muted.

use std::collections::BTreeSet;

use raidhall_protocol::event::{FailReason, LeaderReason, LeaveReason};
use raidhall_protocol::limits::MUTE_UNTIL;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::state::{RaidStatus, Role, Task, TaskStatus};
use raidhall_protocol::{Event, EventData, PlayerId, TaskId, UnixMillis};

use super::{Act, Decision, Draft, chat, tasks};
use crate::raid::state::Former;
use crate::raid::values::Values;
use crate::raid::{Refusal, State, energy};

/// Adds a member. A former member gets back their XP, tasks and energy, and is still muted. The
/// energy comes with its own `energy_at`, so that leaving and joining again neither costs nor gives
/// any.
pub(super) fn join(state: &State, at: UnixMillis, player: &PlayerRef) -> Decision {
    if state.is_empty() {
        return Err(Refusal::NotFound);
    }
    if state.is_member(player.id) {
        return Ok(Vec::new());
    }
    let (xp, tasks, energy, energy_at, muted_until) = match state.former.get(&player.id) {
        Some(Former::Kicked) => return Err(Refusal::Forbidden),
        Some(&Former::Left {
            xp,
            tasks,
            energy,
            energy_at,
            muted_until,
        }) => (xp, tasks, energy, energy_at, muted_until),
        None => (0, 0, energy::FULL, at, None),
    };
    match state.status_at(at) {
        RaidStatus::Recruiting => {}
        RaidStatus::Active if state.shown.late_join => {}
        _ => return Err(Refusal::RaidClosed),
    }
    if state.shown.members.len() >= state.shown.max_members as usize {
        return Err(Refusal::RaidFull);
    }
    let joined = EventData::MemberJoined {
        player: player.id,
        name: player.name.clone(),
        role: Role::Member,
        xp,
        tasks,
        energy,
        energy_at,
        joined_at: at,
    };
    let draft = Draft::new(state, at, Some(player.id)).with(joined);
    Ok(match muted_until.filter(|until| at < *until) {
        Some(until) => draft.with(EventData::MemberMuted {
            player: player.id,
            until: Some(until),
        }),
        None => draft,
    }
    .events)
}

pub(super) fn leave(act: &Act<'_>) -> Decision {
    act.require_not_ended()?;
    Ok(draft_leave(act).events)
}

/// Drafts the events of a member leaving a raid that has not ended: a leader is replaced, and the
/// raid of a last member fails.
pub(super) fn draft_leave(act: &Act<'_>) -> Draft {
    let draft = act
        .draft()
        .with(member_left(act.state, act.by(), LeaveReason::Left));
    match successor(act) {
        _ if !act.is_leader() => draft,
        Some(player) => draft.with(leader_changed(
            act.state,
            player,
            act.by(),
            LeaderReason::Left,
        )),
        None => draft.with(EventData::RaidFailed {
            reason: FailReason::Abandoned,
        }),
    }
}

pub(super) fn kick(act: &Act<'_>, player: PlayerId) -> Decision {
    require_leader_over(act, player)?;
    let left = member_left(act.state, player, LeaveReason::Kicked);
    Ok(tasks::draft_removals(act.draft().with(left), act.state, player).events)
}

/// Mutes a member; an absent or past time lifts the mute. Nothing changes if that is in effect
/// already.
pub(super) fn mute(act: &Act<'_>, player: PlayerId, until: Option<i64>) -> Decision {
    let mut values = Values::default();
    let until = until.map(|until| UnixMillis(values.number("until", until, MUTE_UNTIL)));
    check_other(act, &mut values, player);
    values.finish()?;
    act.require_leader()?;
    chat::require_open(act)?;
    let member = act.state.member(player).ok_or(Refusal::NotMember)?;
    let until = until.filter(|until| act.at < *until);
    let muted_until = member.muted_until.filter(|until| act.at < *until);
    if until == muted_until {
        return Ok(Vec::new());
    }
    act.causes(EventData::MemberMuted { player, until })
}

pub(super) fn rotate_invite(act: &Act<'_>) -> Decision {
    act.require_leader()?;
    act.require_not_ended()?;
    act.causes(EventData::InviteRotated {
        invite_code: act.new_invite_code.to_owned(),
    })
}

pub(super) fn promote(act: &Act<'_>, player: PlayerId) -> Decision {
    require_leader_over(act, player)?;
    act.causes(leader_changed(
        act.state,
        player,
        act.by(),
        LeaderReason::Promoted,
    ))
}

/// Moves leadership to the longest-standing member who is online. Nothing changes if the leader is
/// online after all, or if no member is.
pub(super) fn leader_offline(
    state: &State,
    at: UnixMillis,
    online: &BTreeSet<PlayerId>,
) -> Vec<Event> {
    let Some(leader) = state.shown.leader.filter(|_| !state.status_at(at).ended()) else {
        return Vec::new();
    };
    let successor = state
        .shown
        .members
        .iter()
        .find(|member| online.contains(&member.player));
    match successor {
        Some(member) if !online.contains(&leader) => {
            Draft::new(state, at, None)
                .with(leader_changed(
                    state,
                    member.player,
                    leader,
                    LeaderReason::LeaderOffline,
                ))
                .events
        }
        _ => Vec::new(),
    }
}

fn require_leader_over(act: &Act<'_>, player: PlayerId) -> Result<(), Refusal> {
    let mut values = Values::default();
    check_other(act, &mut values, player);
    values.finish()?;
    act.require_leader()?;
    act.require_not_ended()?;
    require_member(act, player)
}

fn check_other(act: &Act<'_>, values: &mut Values, player: PlayerId) {
    if player == act.by() {
        values.fault("player", "must be another player");
    }
}

fn require_member(act: &Act<'_>, player: PlayerId) -> Result<(), Refusal> {
    if act.state.is_member(player) {
        Ok(())
    } else {
        Err(Refusal::NotMember)
    }
}

/// Returns the longest-standing other member who is online, or else the longest-standing other
/// member.
fn successor(act: &Act<'_>) -> Option<PlayerId> {
    let others = || {
        act.state
            .shown
            .members
            .iter()
            .map(|member| member.player)
            .filter(|p| *p != act.by())
    };
    others()
        .find(|player| act.online.contains(player))
        .or_else(|| others().next())
}

fn member_left(state: &State, player: PlayerId, reason: LeaveReason) -> EventData {
    let claimed =
        |task: &&Task| task.status == TaskStatus::Claimed && task.assignee == Some(player);
    let released: Vec<TaskId> = state
        .shown
        .tasks
        .iter()
        .filter(claimed)
        .map(|task| task.id)
        .collect();
    EventData::MemberLeft {
        player,
        reason,
        released,
    }
}

const fn leader_changed(
    state: &State,
    player: PlayerId,
    previous: PlayerId,
    reason: LeaderReason,
) -> EventData {
    EventData::LeaderChanged {
        player,
        previous,
        reason,
        term: state.shown.term + 1,
    }
}
