//! Decides how a raid begins and ends.

use raidhall_protocol::event::FailReason;
use raidhall_protocol::limits::{
    DESCRIPTION_CHARS_MAX, MEMBERS, TARGET_TASKS, TARGET_XP, TIME_LIMIT_SECS, TITLE_CHARS_MAX,
};
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::state::{RaidStatus, Role};
use raidhall_protocol::{Event, EventData, UnixMillis};

use super::{Act, Decision, Draft};
use crate::raid::values::Values;
use crate::raid::{Refusal, State, energy};

/// Time limit of a raid that does not name one, in seconds.
const DEFAULT_TIME_LIMIT_SECS: i64 = 86_400;
/// Maximum number of members of a raid that does not name one.
const DEFAULT_MAX_MEMBERS: i64 = 4;

pub(super) fn create(
    state: &State,
    at: UnixMillis,
    leader: &PlayerRef,
    invite_code: &str,
    raid: &NewRaid,
) -> Decision {
    if !state.is_empty() {
        return Err(Refusal::WrongStatus);
    }
    let mut values = Values::default();
    let created = EventData::RaidCreated {
        title: values.name("title", &raid.title, TITLE_CHARS_MAX),
        description: values.optional_text(
            "description",
            raid.description.as_deref(),
            DESCRIPTION_CHARS_MAX,
        ),
        invite_code: invite_code.to_owned(),
        target_xp: values.number("target_xp", raid.target_xp, TARGET_XP),
        target_tasks: values.number("target_tasks", raid.target_tasks, TARGET_TASKS),
        time_limit_secs: values.number(
            "time_limit_secs",
            raid.time_limit_secs.unwrap_or(DEFAULT_TIME_LIMIT_SECS),
            TIME_LIMIT_SECS,
        ),
        max_members: values.number(
            "max_members",
            raid.max_members.unwrap_or(DEFAULT_MAX_MEMBERS),
            MEMBERS,
        ),
        late_join: raid.late_join.unwrap_or(false),
        ranked: raid.ranked.unwrap_or(false),
    };
    values.finish()?;
    let joined = EventData::MemberJoined {
        player: leader.id,
        name: leader.name.clone(),
        role: Role::Leader,
        xp: 0,
        tasks: 0,
        energy: energy::FULL,
        energy_at: at,
        joined_at: at,
    };
    Ok(Draft::new(state, at, Some(leader.id))
        .with(created)
        .with(joined)
        .events)
}

pub(super) fn start(act: &Act<'_>) -> Decision {
    act.require_leader()?;
    act.require_status(RaidStatus::Recruiting)?;
    // The limit is at most 604,800 seconds, so the product cannot overflow.
    let limit_millis = act.state.shown.time_limit_secs.cast_signed() * 1_000;
    act.causes(EventData::RaidStarted {
        deadline: act.at.plus(limit_millis),
    })
}

pub(super) fn cancel(act: &Act<'_>) -> Decision {
    act.require_leader()?;
    act.require_not_ended()?;
    act.causes(EventData::RaidFailed {
        reason: FailReason::Cancelled,
    })
}

/// Ends the raid for an operator, as its leader would. The event has no player as its author.
pub(super) fn end(state: &State, at: UnixMillis) -> Decision {
    if state.is_empty() {
        return Err(Refusal::NotFound);
    }
    if state.status_at(at).ended() {
        return Err(Refusal::WrongStatus);
    }
    let failed = EventData::RaidFailed {
        reason: FailReason::Cancelled,
    };
    Ok(Draft::new(state, at, None).with(failed).events)
}

/// Fails a raid whose deadline has passed. The event's time is the deadline, however late it is
/// decided.
pub(super) fn deadline(state: &State, at: UnixMillis) -> Vec<Event> {
    match state.active_deadline() {
        Some(deadline) if at >= deadline => {
            let at = deadline.max(state.last_at());
            Draft::new(state, at, None)
                .with(EventData::RaidFailed {
                    reason: FailReason::Deadline,
                })
                .events
        }
        _ => Vec::new(),
    }
}
