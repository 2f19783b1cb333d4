//! The final ranking of a raid that was won.

use std::cmp::Reverse;

use raidhall_protocol::state::Rank;
use raidhall_protocol::{PlayerId, Seq};

use super::State;

/// A contribution that is decided but not yet applied to the state.
#[derive(Debug, Clone, Copy)]
pub(super) struct LatestContribution {
    /// The player who earned the XP.
    pub player: PlayerId,
    /// The player's XP after the contribution.
    pub xp: u64,
    /// The player's task count after the contribution.
    pub tasks: u64,
    /// The seq of the contribution's event.
    pub seq: Seq,
}

/// Ranks the members by XP, then by who reached that XP first; members without XP are in joining
/// order. Former members are not ranked.
pub(super) fn ranking(state: &State, latest: LatestContribution) -> Vec<Rank> {
    let mut ranking: Vec<(Seq, Rank)> = state
        .shown
        .members
        .iter()
        .map(|member| {
            let (xp, tasks, reached) = if member.player == latest.player {
                (latest.xp, latest.tasks, latest.seq)
            } else {
                let reached = state
                    .reached
                    .get(&member.player)
                    .copied()
                    .unwrap_or(Seq::ZERO);
                (member.xp, member.tasks, reached)
            };
            (
                reached,
                Rank {
                    player: member.player,
                    name: member.name.clone(),
                    xp,
                    tasks,
                    rank: 0,
                },
            )
        })
        .collect();
    ranking.sort_by_key(|(reached, rank)| (Reverse(rank.xp), *reached)); // stable: joining order breaks ties
    (1..)
        .zip(ranking)
        .map(|(rank, (_, row))| Rank { rank, ..row })
        .collect()
}
