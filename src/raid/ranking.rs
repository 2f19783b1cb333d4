//! Who did how well in a raid that was won.

use std::cmp::Reverse;

use raidhall_protocol::state::Rank;
use raidhall_protocol::{PlayerId, Seq};

use super::State;

/// A contribution that is decided and not yet applied.
#[derive(Debug, Clone, Copy)]
pub(super) struct LatestContribution {
    /// Who earned it.
    pub player: PlayerId,
    /// All xp they then have.
    pub xp: u64,
    /// All tasks they then have done.
    pub tasks: u64,
    /// The seq of its event.
    pub seq: Seq,
}

/// The members by xp, then by who reached that xp first; those without xp in joining order. Those who left are not
/// ranked.
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
