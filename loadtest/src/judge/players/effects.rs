//! Effects exactly once: compares a player's stream with what the raids' ledgers must give it.

use std::collections::BTreeMap;

use raidhall_protocol::player::event::RaidOutcome;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};
use raidhall_protocol::rest::Profile;
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{RaidId, Seq, UnixMillis};

use super::allowance::{Allowances, DayBegin};
use super::causes::{ExpectedEffect, Gain, place_key};
use super::violation::StreamViolationKind;
use crate::fold::StreamFold;

/// Sums over the effects of a stream.
#[derive(Debug, Default)]
struct EffectSums {
    amount: u64,
    counted: u64,
    tasks: u64,
    played: u64,
    won: u64,
}

struct EffectReader<'a> {
    expected: BTreeMap<(RaidId, Seq), &'a ExpectedEffect>,
    /// The causes that have taken effect, each with the seq of its effect.
    seen: BTreeMap<(RaidId, Seq), Seq>,
    newest_cause: BTreeMap<RaidId, Seq>,
    sums: EffectSums,
    allowances: Allowances,
    /// When the newest event happened.
    clock: UnixMillis,
    violations: Vec<StreamViolationKind>,
}

/// Reports every effect without its cause, every cause without its effect or with two, and every
/// effect that is not what cause and rules give.
pub(super) fn check_effects<'a>(
    player: &PlayerRef,
    events: &[PlayerEvent],
    expected: impl Iterator<Item = &'a ExpectedEffect>,
) -> Vec<StreamViolationKind> {
    let mut reader = EffectReader {
        expected: expected
            .map(|effect| (place_key(effect.cause), effect))
            .collect(),
        seen: BTreeMap::new(),
        newest_cause: BTreeMap::new(),
        sums: EffectSums::default(),
        allowances: Allowances::default(),
        clock: UnixMillis(i64::MIN),
        violations: Vec::new(),
    };
    let mut fold = StreamFold::of_new_player(player);
    for event in events {
        if let Some(state) = fold.state() {
            reader.process(event, DayBegin::from_settings(&state.settings));
        }
        let _ = fold.apply(event); // a gap is reported where the stream is read
    }
    reader.finish()
}

/// Checks that the balances of a state and of the profile are the sums of a stream's effects.
pub(super) fn check_balances(
    events: &[PlayerEvent],
    state: &PlayerState,
    profile: Option<&Profile>,
) -> Vec<StreamViolationKind> {
    let mut sums = EffectSums::default();
    for event in events {
        sums.add(&event.data);
    }
    let of_state = [
        ("xp", state.xp, sums.counted),
        ("earned_xp", state.earned_xp, sums.amount),
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

/// Returns whether only an event of a raid can cause events of this type.
pub(super) const fn is_effect(data: &PlayerEventData) -> bool {
    matches!(
        data,
        PlayerEventData::XpEarned { .. }
            | PlayerEventData::RaidJoined { .. }
            | PlayerEventData::RaidLeft { .. }
            | PlayerEventData::RaidEnded { .. }
    )
}

impl EffectSums {
    fn add(&mut self, data: &PlayerEventData) {
        match data {
            PlayerEventData::XpEarned {
                amount, counted, ..
            } => {
                self.amount += amount;
                self.counted += counted;
                self.tasks += 1;
            }
            PlayerEventData::RaidEnded { outcome, .. } => {
                self.played += 1;
                self.won += u64::from(*outcome == RaidOutcome::Completed);
            }
            _ => {}
        }
    }
}

impl EffectReader<'_> {
    fn process(&mut self, event: &PlayerEvent, begin: DayBegin) {
        let PlayerEvent { seq, at, .. } = *event;
        if is_effect(&event.data) || event.cause.is_some() {
            let cause = event.cause.filter(|_| is_effect(&event.data));
            match cause.and_then(|cause| self.expected.get(&place_key(cause)).copied()) {
                Some(expected) => self.check_effect(event, expected, begin),
                None => self
                    .violations
                    .push(StreamViolationKind::EffectWithoutCause {
                        seq,
                        kind: event.data.kind(),
                        cause: event.cause,
                    }),
            }
        }
        self.clock = self.clock.max(at);
        self.sums.add(&event.data);
    }

    fn check_effect(&mut self, event: &PlayerEvent, expected: &ExpectedEffect, begin: DayBegin) {
        let seq = event.seq;
        let cause = expected.cause;
        let kind = event.data.kind();
        if let Some(first) = self.seen.get(&place_key(cause)) {
            let first = *first;
            self.violations.push(StreamViolationKind::DoubleEffect {
                seq,
                first,
                kind,
                cause,
            });
            return;
        }
        self.seen.insert(place_key(cause), seq);
        let newest = self.newest_cause.entry(cause.raid).or_default();
        if cause.seq < *newest {
            self.violations
                .push(StreamViolationKind::CausesReordered { seq });
        }
        *newest = cause.seq.max(*newest);
        let at = expected.at.max(self.clock);
        if event.at != at {
            self.violations.push(StreamViolationKind::EffectTimeWrong {
                seq,
                told: event.at.0,
                expected: at.0,
            });
        }
        let data = self.expected_data(expected, begin);
        if event.data != data {
            self.violations.push(StreamViolationKind::EffectWrong {
                seq,
                found: format!("{:?}", event.data),
                expected: format!("{data:?}"),
            });
        }
    }

    fn expected_data(&mut self, expected: &ExpectedEffect, begin: DayBegin) -> PlayerEventData {
        let raid = expected.cause.raid;
        let (amount, counted, allowance) = match expected.gain {
            Gain::Role(role) => return PlayerEventData::RaidJoined { raid, role },
            Gain::Left(reason) => return PlayerEventData::RaidLeft { raid, reason },
            Gain::Ended { outcome, rank, xp } => {
                let is_won = outcome == RaidOutcome::Completed;
                return PlayerEventData::RaidEnded {
                    raid,
                    outcome,
                    rank,
                    xp,
                    raids_played: self.sums.played + 1,
                    raids_won: self.sums.won + u64::from(is_won),
                };
            }
            Gain::Contribution { xp } => (xp, xp, None),
            Gain::Task { xp, ranked } => {
                let (counted, allowance) = self.allowances.count(begin, expected.at, xp, ranked);
                (xp, counted, Some(allowance))
            }
        };
        PlayerEventData::XpEarned {
            amount,
            counted,
            earned_xp: self.sums.amount + amount,
            xp: self.sums.counted + counted,
            tasks: self.sums.tasks + 1,
            allowance,
        }
    }

    fn finish(mut self) -> Vec<StreamViolationKind> {
        let missing = self
            .expected
            .values()
            .filter(|effect| !self.seen.contains_key(&place_key(effect.cause)))
            .map(|effect| StreamViolationKind::CauseWithoutEffect {
                kind: effect.gain.kind(),
                cause: effect.cause,
            });
        self.violations.extend(missing);
        self.violations
    }
}
