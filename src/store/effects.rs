//! Effects of an append besides events and the raid's own columns: members and leaders. These are
//! rules about events, and every store applies them.

use std::collections::BTreeMap;

use raidhall_protocol::state::Role;
use raidhall_protocol::{EventData, PlayerId, Seq, UnixMillis};

use super::Append;

/// Columns of a raid's row that its first event decides.
pub(super) struct RaidCreation<'a> {
    pub(super) title: &'a str,
    pub(super) invite_code: &'a str,
    pub(super) target_xp: u64,
    pub(super) target_tasks: u64,
    pub(super) time_limit_secs: u64,
    pub(super) created_at: UnixMillis,
}

impl RaidCreation<'_> {
    /// Reads the columns from the append's first event and a new invite code after it; `None` if the
    /// append continues an existing raid.
    pub(super) fn of(append: &Append) -> Option<RaidCreation<'_>> {
        let first = &append.events.first()?.event;
        match &first.data {
            EventData::RaidCreated {
                title,
                invite_code,
                target_xp,
                target_tasks,
                time_limit_secs,
                ..
            } if first.seq == Seq(1) => Some(RaidCreation {
                title,
                invite_code: rotated_invite_code(append).unwrap_or(invite_code),
                target_xp: *target_xp,
                target_tasks: *target_tasks,
                time_limit_secs: *time_limit_secs,
                created_at: first.at,
            }),
            _ => None,
        }
    }
}

/// Returns the raid's invite code after the append, if the append replaces it.
pub(super) fn rotated_invite_code(append: &Append) -> Option<&str> {
    let codes = event_data(append).filter_map(|data| match data {
        EventData::InviteRotated { invite_code } => Some(invite_code.as_str()),
        _ => None,
    });
    codes.last()
}

/// Returns, for each player who joined or left in the append, whether they are a member after it.
pub(super) fn memberships(append: &Append) -> BTreeMap<PlayerId, bool> {
    let mut members = BTreeMap::new();
    for data in event_data(append) {
        match data {
            EventData::MemberJoined { player, .. } => {
                members.insert(*player, true);
            }
            EventData::MemberLeft { player, .. } => {
                members.insert(*player, false);
            }
            _ => {}
        }
    }
    members
}

/// What an append makes of the raid's leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leadership {
    /// The raid is open, and this player leads it.
    Led(PlayerId),
    /// The raid has ended.
    Ended,
}

impl Leadership {
    /// Returns what the append makes of the leadership; `None` if it changes nothing.
    pub(super) fn of(append: &Append) -> Option<Leadership> {
        event_data(append)
            .filter_map(|data| match data {
                EventData::MemberJoined {
                    player,
                    role: Role::Leader,
                    ..
                }
                | EventData::LeaderChanged { player, .. } => Some(Leadership::Led(*player)),
                EventData::RaidCompleted { .. } | EventData::RaidFailed { .. } => {
                    Some(Leadership::Ended)
                }
                _ => None,
            })
            .last()
    }

    /// Returns the leader of an open raid.
    pub(super) fn leader(self) -> Option<PlayerId> {
        match self {
            Leadership::Led(player) => Some(player),
            Leadership::Ended => None,
        }
    }

    /// Returns the argument of a statement: the leader's id, or 0 for an ended raid.
    pub(super) fn argument(self) -> i64 {
        self.leader().map_or(0, i64::from)
    }
}

/// Returns the players who joined in the append, even if they left again, and when.
pub(super) fn joined(append: &Append) -> BTreeMap<PlayerId, UnixMillis> {
    event_data(append)
        .filter_map(|data| match data {
            EventData::MemberJoined {
                player, joined_at, ..
            } => Some((*player, *joined_at)),
            _ => None,
        })
        .collect()
}

fn event_data(append: &Append) -> impl Iterator<Item = &EventData> {
    append.events.iter().map(|recorded| &recorded.event.data)
}
