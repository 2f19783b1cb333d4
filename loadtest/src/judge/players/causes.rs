//! What a raid's ledger must give its players, written from the protocol's specification.

use std::collections::BTreeMap;

use raidhall_protocol::event::LeaveReason;
use raidhall_protocol::player::event::{RaidOutcome, RaidPlace};
use raidhall_protocol::state::{Rank, Role};
use raidhall_protocol::{Event, EventData, PlayerId, RaidId, Seq, UnixMillis};

/// An effect that a player's stream must have exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedEffect {
    pub player: PlayerId,
    pub cause: RaidPlace,
    /// When the cause happened.
    pub at: UnixMillis,
    pub gain: Gain,
}

/// Returns a place as the key of a map.
pub(super) const fn place_key(place: RaidPlace) -> (RaidId, Seq) {
    (place.raid, place.seq)
}

/// What a raid's event means for one player.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gain {
    /// The player joined, or their role changed.
    Role(Role),
    Left(LeaveReason),
    Task {
        xp: u64,
        ranked: bool,
    },
    Contribution {
        xp: u64,
        kind: String,
    },
    Ended {
        outcome: RaidOutcome,
        rank: Option<u32>,
        xp: u64,
    },
}

impl Gain {
    /// Returns the type of the effect on the wire.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Role(_) => "raid_joined",
            Self::Left(_) => "raid_left",
            Self::Task { .. } | Self::Contribution { .. } => "xp_earned",
            Self::Ended { .. } => "raid_ended",
        }
    }
}

/// A raid's members at one event of its ledger, each with their XP in it.
struct LedgerMembers {
    is_ranked: bool,
    members: BTreeMap<PlayerId, u64>,
}

/// Returns the effects of a raid's whole ledger, in its order.
pub fn expected_effects(raid: RaidId, events: &[Event]) -> Vec<ExpectedEffect> {
    let mut membership = LedgerMembers {
        is_ranked: false,
        members: BTreeMap::new(),
    };
    let mut expected = Vec::new();
    for event in events {
        let cause = RaidPlace {
            raid,
            seq: event.seq,
        };
        let gains = membership.apply(&event.data);
        expected.extend(gains.into_iter().map(|(player, gain)| ExpectedEffect {
            player,
            cause,
            at: event.at,
            gain,
        }));
    }
    expected
}

impl LedgerMembers {
    /// Applies an event, and returns what it means for players.
    fn apply(&mut self, data: &EventData) -> Vec<(PlayerId, Gain)> {
        match data {
            EventData::RaidCreated { ranked, .. } => self.is_ranked = *ranked,
            EventData::MemberJoined {
                player, role, xp, ..
            } => {
                self.members.insert(*player, *xp);
                return vec![(*player, Gain::Role(*role))];
            }
            EventData::MemberLeft { player, reason, .. } => {
                self.members.remove(player);
                return vec![(*player, Gain::Left(*reason))];
            }
            EventData::LeaderChanged {
                player, previous, ..
            } => {
                let mut gains = vec![(*player, Gain::Role(Role::Leader))];
                if self.members.contains_key(previous) {
                    gains.push((*previous, Gain::Role(Role::Member)));
                }
                return gains;
            }
            EventData::TaskCompleted {
                player,
                xp,
                member_xp,
                ..
            } => {
                self.members.insert(*player, *member_xp);
                let ranked = self.is_ranked;
                return vec![(*player, Gain::Task { xp: *xp, ranked })];
            }
            EventData::Contributed {
                player,
                xp,
                kind,
                member_xp,
                ..
            } => {
                self.members.insert(*player, *member_xp);
                let kind = kind.clone();
                return vec![(*player, Gain::Contribution { xp: *xp, kind })];
            }
            EventData::RaidCompleted { ranking } => {
                return self.end(RaidOutcome::Completed, ranking);
            }
            EventData::RaidFailed { .. } => return self.end(RaidOutcome::Failed, &[]),
            _ => {}
        }
        Vec::new()
    }

    fn end(&self, outcome: RaidOutcome, ranking: &[Rank]) -> Vec<(PlayerId, Gain)> {
        let rank = |player| ranking.iter().find(|row| row.player == player);
        let gain = |(player, xp): (&PlayerId, &u64)| {
            let rank = rank(*player).map(|row| row.rank);
            let xp = *xp;
            (*player, Gain::Ended { outcome, rank, xp })
        };
        self.members.iter().map(gain).collect()
    }
}
