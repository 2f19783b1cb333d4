//! What an append changes besides events and the raid's own columns: its members, and what players gain.

use std::collections::{BTreeMap, BTreeSet};

use raidhall_protocol::{EventData, PlayerId, Seq, UnixMillis};

use super::Append;

/// The effects of one append on other rows. Every store writes the same ones.
#[derive(Debug, Default)]
pub(super) struct AppendEffects {
    /// The players who joined in the append, even if they left again.
    pub(super) joined: BTreeSet<PlayerId>,
    /// Whether each player who joined or left is a member after the append.
    pub(super) members: BTreeMap<PlayerId, bool>,
    /// The players who completed the raid.
    pub(super) winners: Vec<PlayerId>,
    /// The players who earned XP, and how much, each time.
    earnings: Vec<(PlayerId, u64)>,
}

/// What a player's totals gain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PlayerGains {
    pub(super) xp: u64,
    pub(super) tasks: u64,
    pub(super) raids_won: u64,
}

/// What players gain by a batch, one entry per player.
#[derive(Debug, Default)]
pub(super) struct BatchGains(BTreeMap<PlayerId, PlayerGains>);

/// The columns of a raid's row that its first event decides.
pub(super) struct RaidCreation<'a> {
    pub(super) title: &'a str,
    pub(super) invite_code: &'a str,
    pub(super) target_xp: u64,
    pub(super) target_tasks: u64,
    pub(super) time_limit_secs: u64,
    pub(super) created_at: UnixMillis,
}

impl AppendEffects {
    pub(super) fn of(append: &Append) -> AppendEffects {
        let mut effects = AppendEffects::default();
        for recorded in &append.events {
            let data = &recorded.event.data;
            match data {
                EventData::MemberJoined { player, .. } => {
                    effects.joined.insert(*player);
                    effects.members.insert(*player, true);
                }
                EventData::MemberLeft { player, .. } => {
                    effects.members.insert(*player, false);
                }
                EventData::RaidCompleted { ranking } => {
                    let players = ranking.iter().map(|rank| rank.player);
                    effects.winners.extend(players);
                }
                _ => {}
            }
            effects.earnings.extend(data.earned());
        }
        effects
    }
}

impl BatchGains {
    pub(super) fn of<'e>(batch: impl IntoIterator<Item = &'e AppendEffects>) -> BatchGains {
        let mut gains = BatchGains::default();
        for effects in batch {
            for (player, xp) in &effects.earnings {
                let total = gains.0.entry(*player).or_default();
                total.xp = total.xp.saturating_add(*xp);
                total.tasks += 1;
            }
            for player in &effects.winners {
                gains.0.entry(*player).or_default().raids_won += 1;
            }
        }
        gains
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PlayerId, PlayerGains)> {
        self.0.iter().map(|(player, gains)| (*player, *gains))
    }
}

impl RaidCreation<'_> {
    /// `None` if the append continues a raid.
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
                invite_code,
                target_xp: *target_xp,
                target_tasks: *target_tasks,
                time_limit_secs: *time_limit_secs,
                created_at: first.at,
            }),
            _ => None,
        }
    }
}
