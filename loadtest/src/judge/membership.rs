//! What is certain about a player's membership: a player who never asked to leave, and was not
//! removed by others, is a member, and no answer may deny it.

use std::collections::BTreeSet;

use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::{Event, EventData, PlayerId, RaidState};

use crate::client_log::ClientLog;

/// What is known of a raid: from its events its end, its invite code and players who were removed, and
/// whose clients' logs are judged.
#[derive(Debug, Default)]
pub(super) struct RaidFacts {
    pub(super) has_ended: bool,
    pub(super) has_new_invite_code: bool,
    removed_players: BTreeSet<PlayerId>,
    logged_players: BTreeSet<PlayerId>,
}

impl RaidFacts {
    pub(super) fn new<'a>(
        events: impl Iterator<Item = &'a Event>,
        logs: &[ClientLog],
    ) -> RaidFacts {
        let mut facts = RaidFacts {
            logged_players: logs.iter().map(|log| log.player).collect(),
            ..RaidFacts::default()
        };
        for event in events {
            match &event.data {
                EventData::RaidCompleted { .. } | EventData::RaidFailed { .. } => {
                    facts.has_ended = true;
                }
                EventData::InviteRotated { .. } => facts.has_new_invite_code = true,
                EventData::MemberLeft {
                    player,
                    reason: LeaveReason::Kicked,
                    ..
                }
                | EventData::PlayerErased { player, .. } => {
                    facts.removed_players.insert(*player);
                }
                _ => {}
            }
        }
        facts
    }

    /// Returns whether the players who are shown online are those who should be. Of members without a
    /// client log nothing is known.
    pub(super) fn is_presence_right(
        &self,
        shown: &BTreeSet<PlayerId>,
        online: &BTreeSet<PlayerId>,
        state: &RaidState,
    ) -> bool {
        let is_unknown = |player: &PlayerId| {
            let mut members = state.members.iter();
            !self.logged_players.contains(player) && members.any(|it| it.player == *player)
        };
        online.is_subset(shown) && shown.difference(online).all(is_unknown)
    }

    /// Returns whether the player was kicked or erased at some time.
    pub(super) fn is_removed(&self, player: PlayerId) -> bool {
        self.removed_players.contains(&player)
    }
}
