//! Decides what members earn, and whether it wins the raid.

use raidhall_protocol::limits::{CONTRIBUTION_KIND_CHARS_MAX, CONTRIBUTION_XP, NOTE_CHARS_MAX};
use raidhall_protocol::state::{Member, RaidStatus};
use raidhall_protocol::{Event, EventData, PlayerId, UnixMillis};

use super::{Decision, Draft};
use crate::raid::ranking::{LatestContribution, ranking};
use crate::raid::values::Values;
use crate::raid::{Refusal, State};

/// Credits a member with XP earned outside the raid.
pub(super) fn contribute(
    state: &State,
    at: UnixMillis,
    player: PlayerId,
    xp: i64,
    kind: &str,
    note: Option<&str>,
) -> Decision {
    let mut values = Values::default();
    let xp = values.number("xp", xp, CONTRIBUTION_XP);
    let kind = values.word("kind", kind, 1..=CONTRIBUTION_KIND_CHARS_MAX);
    let note = values.optional_text("note", note, NOTE_CHARS_MAX);
    values.finish()?;
    if state.status_at(at) != RaidStatus::Active {
        return Err(Refusal::WrongStatus);
    }
    let member = state.member(player).ok_or(Refusal::NotMember)?;
    let earned = Earned::new(state, member, xp);
    let contributed = EventData::Contributed {
        player,
        xp,
        kind,
        note,
        member_xp: earned.member_xp,
        member_tasks: earned.member_tasks,
        current_xp: earned.current_xp,
        current_tasks: earned.current_tasks,
    };
    Ok(earned.conclude(state, Draft::new(state, at, None).with(contributed)))
}

/// A member's and the raid's totals after a contribution. At 10,000 XP each it would take 10^15
/// contributions to overflow them.
pub(super) struct Earned {
    player: PlayerId,
    pub(super) member_xp: u64,
    pub(super) member_tasks: u64,
    pub(super) current_xp: u64,
    pub(super) current_tasks: u64,
}

impl Earned {
    pub(super) const fn new(state: &State, member: &Member, xp: u64) -> Earned {
        Earned {
            player: member.player,
            member_xp: member.xp + xp,
            member_tasks: member.tasks + 1,
            current_xp: state.shown.current_xp + xp,
            current_tasks: state.shown.current_tasks + 1,
        }
    }

    /// Finishes a draft whose last event is the contribution; adds the win if both goals are
    /// reached.
    pub(super) fn conclude(&self, state: &State, draft: Draft) -> Vec<Event> {
        let goals = &state.shown;
        if self.current_xp < goals.target_xp || self.current_tasks < goals.target_tasks {
            return draft.events;
        }
        let latest = LatestContribution {
            player: self.player,
            xp: self.member_xp,
            tasks: self.member_tasks,
            seq: draft.last,
        };
        draft
            .with(EventData::RaidCompleted {
                ranking: ranking(state, latest),
            })
            .events
    }
}
