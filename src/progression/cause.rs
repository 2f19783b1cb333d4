//! What events of raids mean for players.

use raidhall_protocol::event::{LeaderReason, LeaveReason};
use raidhall_protocol::player::event::{RaidOutcome, RaidPlace};
use raidhall_protocol::state::Role;
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, UnixMillis};

use super::DefinitionsNumber;

/// What is known of a raid and its event beside the event's data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RaidContext {
    /// Whether the raid is ranked.
    pub is_ranked: bool,
    /// The members at the end of a raid that failed, each with their XP in it. A raid that was
    /// completed has them in its event.
    pub last_members: Vec<(PlayerId, u64)>,
    /// The number of the definitions in force for the event.
    pub definitions: DefinitionsNumber,
}

/// What an event of a raid means for one player.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The place of the event.
    pub place: RaidPlace,
    /// When the event happened.
    pub at: UnixMillis,
    /// The number of the definitions in force for the event.
    pub definitions: DefinitionsNumber,
    /// What the event means for the player.
    pub kind: CauseKind,
}

/// What happened to a player in a raid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CauseKind {
    /// They joined the raid, or their role changed.
    HasRole(Role),
    /// They left the raid, or were removed.
    Left(LeaveReason),
    /// They completed a task.
    TaskCompleted { xp: u64, is_ranked: bool },
    /// The host app's backend credited them.
    Contributed { xp: u64, kind: String },
    /// The raid ended while they were a member.
    Ended {
        outcome: RaidOutcome,
        rank: Option<u32>,
        xp: u64,
    },
}

/// Returns what an event means for players, each of them at most once.
pub fn causes(raid: RaidId, event: &Event, context: &RaidContext) -> Vec<(PlayerId, Cause)> {
    let place = RaidPlace {
        raid,
        seq: event.seq,
    };
    let for_player = |(player, kind)| {
        let cause = Cause {
            place,
            at: event.at,
            definitions: context.definitions,
            kind,
        };
        (player, cause)
    };
    kinds(&event.data, context)
        .into_iter()
        .map(for_player)
        .collect()
}

fn kinds(data: &EventData, context: &RaidContext) -> Vec<(PlayerId, CauseKind)> {
    let ended = |outcome, player, rank, xp| {
        let kind = CauseKind::Ended { outcome, rank, xp };
        (player, kind)
    };
    match data {
        EventData::MemberJoined { player, role, .. } => vec![(*player, CauseKind::HasRole(*role))],
        EventData::MemberLeft { player, reason, .. } => vec![(*player, CauseKind::Left(*reason))],
        EventData::LeaderChanged {
            player,
            previous,
            reason,
            ..
        } => {
            let leads = (*player, CauseKind::HasRole(Role::Leader));
            let follows = (*previous, CauseKind::HasRole(Role::Member));
            match reason {
                LeaderReason::Left => vec![leads],
                LeaderReason::Promoted | LeaderReason::LeaderOffline => vec![follows, leads],
            }
        }
        EventData::TaskCompleted { player, xp, .. } => {
            let is_ranked = context.is_ranked;
            vec![(*player, CauseKind::TaskCompleted { xp: *xp, is_ranked })]
        }
        EventData::Contributed {
            player, xp, kind, ..
        } => {
            let (xp, kind) = (*xp, kind.clone());
            vec![(*player, CauseKind::Contributed { xp, kind })]
        }
        EventData::RaidCompleted { ranking } => ranking
            .iter()
            .map(|it| ended(RaidOutcome::Completed, it.player, Some(it.rank), it.xp))
            .collect(),
        EventData::RaidFailed { .. } => context
            .last_members
            .iter()
            .map(|(player, xp)| ended(RaidOutcome::Failed, *player, None, *xp))
            .collect(),
        EventData::RaidCreated { .. }
        | EventData::RaidStarted { .. }
        | EventData::TaskAdded { .. }
        | EventData::TaskEdited { .. }
        | EventData::TaskRemoved { .. }
        | EventData::TaskClaimed { .. }
        | EventData::TaskReleased { .. }
        | EventData::TaskFailed { .. }
        | EventData::Said { .. }
        | EventData::MemberMuted { .. }
        | EventData::InviteRotated { .. }
        | EventData::PlayerErased { .. } => Vec::new(),
    }
}
