//! Balances: the numbers of a state are the sums of its stream's events.

use raidhall_protocol::player::event::{RaidOutcome, XpSource};
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};
use raidhall_protocol::rest::Profile;

use super::violation::StreamViolationKind;

/// Sums over the events of a stream.
#[derive(Debug, Default)]
struct StreamSums {
    amount: u64,
    counted: u64,
    tasks: u64,
    played: u64,
    won: u64,
    levels: u64,
    coins: i64,
}

/// Checks that the balances of a state and of the profile are the sums of a stream's events.
pub(super) fn check_balances(
    events: &[PlayerEvent],
    state: &PlayerState,
    profile: Option<&Profile>,
) -> Vec<StreamViolationKind> {
    let mut sums = StreamSums::default();
    for event in events {
        sums.add(&event.data);
    }
    let coins = u64::try_from(sums.coins).unwrap_or(0);
    let of_state = [
        ("xp", state.xp, sums.counted),
        ("earned_xp", state.earned_xp, sums.amount),
        ("level", state.level, 1 + sums.levels),
        ("coins", state.coins, coins),
        ("tasks", state.tasks, sums.tasks),
        ("raids_played", state.raids_played, sums.played),
        ("raids_won", state.raids_won, sums.won),
    ];
    let of_profile = profile.map(|profile| {
        [
            ("xp of the profile", profile.xp, sums.amount),
            ("tasks of the profile", profile.tasks, sums.tasks),
            ("raids_won of the profile", profile.raids_won, sums.won),
        ]
    });
    let all = of_state.into_iter().chain(of_profile.into_iter().flatten());
    all.filter(|(_, told, summed)| told != summed)
        .map(|(what, told, summed)| StreamViolationKind::BalanceWrong { what, told, summed })
        .collect()
}

impl StreamSums {
    fn add(&mut self, data: &PlayerEventData) {
        match data {
            PlayerEventData::XpEarned {
                amount,
                counted,
                source,
                coins_earned,
                ..
            } => {
                self.amount += amount;
                self.counted += counted;
                self.tasks += u64::from(*source != XpSource::Grant);
                self.coins = self.coins.saturating_add_unsigned(*coins_earned);
            }
            PlayerEventData::LevelReached { coins_earned, .. } => {
                self.levels += 1;
                self.coins = self.coins.saturating_add_unsigned(*coins_earned);
            }
            PlayerEventData::CoinsMoved { amount, .. } => {
                self.coins = self.coins.saturating_add(*amount);
            }
            PlayerEventData::RaidEnded { outcome, .. } => {
                self.played += 1;
                self.won += u64::from(*outcome == RaidOutcome::Completed);
            }
            _ => {}
        }
    }
}
