//! Effects exactly once: compares a player's stream with what the raids' ledgers must give it.

use std::collections::BTreeMap;

use raidhall_protocol::player::event::XpSource;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};
use raidhall_protocol::server::PlayerRef;
use raidhall_protocol::{RaidId, Seq, UnixMillis};

use super::allowance::{Allowances, DayBegin};
use super::causes::{ExpectedEffect, place_key};
use super::counters::{TierGoals, check_counters};
use super::follow_ups::{AwaitedFollowUps, chains, is_follow_up};
use super::rules::{data_of_command, data_of_gain};
use super::streaks::StreakJudge;
use super::violation::StreamViolationKind;
use crate::fold::StreamFold;

struct EffectReader<'a> {
    expected: BTreeMap<(RaidId, Seq), &'a ExpectedEffect>,
    /// The causes that have taken effect, each with the seq of its first event.
    seen: BTreeMap<(RaidId, Seq), Seq>,
    newest_cause: BTreeMap<RaidId, Seq>,
    allowances: Allowances,
    streak: StreakJudge,
    /// When the newest event happened.
    clock: UnixMillis,
    violations: Vec<StreamViolationKind>,
}

/// Reports every effect without its cause, every cause without its effect or with two, and every
/// event that is not what its cause, the rules and the state before it give. `goals` are those of
/// all players.
pub(super) fn check_effects<'a>(
    player: &PlayerRef,
    events: &[PlayerEvent],
    expected: impl Iterator<Item = &'a ExpectedEffect>,
    goals: &mut TierGoals,
) -> Vec<StreamViolationKind> {
    let mut reader = EffectReader {
        expected: expected
            .map(|effect| (place_key(effect.cause), effect))
            .collect(),
        seen: BTreeMap::new(),
        newest_cause: BTreeMap::new(),
        allowances: Allowances::default(),
        streak: StreakJudge::default(),
        clock: UnixMillis(i64::MIN),
        violations: Vec::new(),
    };
    let mut fold = StreamFold::of_new_player(player);
    for chain in chains(events) {
        reader.process(chain, &mut fold);
        let wrong = fold.state().map(|state| goals.check(chain, state));
        reader.violations.extend(wrong.into_iter().flatten());
    }
    reader.finish()
}

impl EffectReader<'_> {
    /// Checks a chain of events, each by the state before it.
    fn process(&mut self, chain: &[PlayerEvent], fold: &mut StreamFold) {
        let first = &chain[0];
        let mut awaited = AwaitedFollowUps::default();
        for event in chain {
            let Some(state) = fold.state() else { return };
            if is_follow_up(&event.data) {
                self.violations.extend(awaited.check(event, first, state));
            } else {
                self.check_first(event, state);
            }
            self.violations.extend(check_item(state, event));
            self.violations.extend(check_counters(state, event));
            self.violations.extend(self.check_streak(event, state));
            awaited.add_to_streak(self.streak.events_of_xp(state, &event.data));
            awaited.add(state, &event.data);
            self.streak.add(state, event);
            self.clock = self.clock.max(event.at);
            let _ = fold.apply(event); // a gap is reported where the stream is read
        }
        self.violations.extend(awaited.finish(first));
    }

    /// Checks an event of a streak that no contribution brings, and when a streak lapses.
    fn check_streak(
        &self,
        event: &PlayerEvent,
        state: &PlayerState,
    ) -> Option<StreamViolationKind> {
        let expected = match &event.data {
            PlayerEventData::StreakLost { .. } => {
                match self.streak.data_of_loss(&state.streak, event.at) {
                    Some(expected) => expected,
                    None => {
                        return Some(StreamViolationKind::StreakLostEarly { seq: event.seq });
                    }
                }
            }
            PlayerEventData::StreakRepaired { .. } if event.cause.is_none() => {
                self.streak.data_of_repair(state, event.at)
            }
            PlayerEventData::SettingSet {
                key,
                value,
                version,
                ..
            } => {
                let begin = DayBegin::after_change(&state.settings, key, value);
                PlayerEventData::SettingSet {
                    key: key.clone(),
                    value: value.clone(),
                    version: *version,
                    lapses_at: begin
                        .and_then(|begin| self.streak.lapses_at_with(state, begin, event.at)),
                }
            }
            _ => return None,
        };
        StreamViolationKind::of_data(event, &expected)
    }

    /// Checks the first event of a chain.
    fn check_first(&mut self, event: &PlayerEvent, state: &PlayerState) {
        if matches!(event.data, PlayerEventData::StreakLost { .. }) {
            return; // before whatever happens next, which may have a cause or none
        }
        if event.cause.is_none() && !needs_cause(&event.data) {
            let expected = data_of_command(state, event);
            let wrong = StreamViolationKind::of_data(event, &expected);
            self.violations.extend(wrong);
            return;
        }
        let cause = event.cause.filter(|_| needs_cause(&event.data));
        match cause.and_then(|cause| self.expected.get(&place_key(cause)).copied()) {
            Some(expected) => self.check_effect(event, expected, state),
            None => self
                .violations
                .push(StreamViolationKind::EffectWithoutCause {
                    seq: event.seq,
                    kind: event.data.kind(),
                    cause: event.cause,
                }),
        }
    }

    fn check_effect(
        &mut self,
        event: &PlayerEvent,
        expected: &ExpectedEffect,
        state: &PlayerState,
    ) {
        let seq = event.seq;
        let cause = expected.cause;
        if let Some(first) = self.seen.get(&place_key(cause)) {
            self.violations.push(StreamViolationKind::DoubleEffect {
                seq,
                first: *first,
                kind: event.data.kind(),
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
        let data = data_of_gain(state, expected, &event.data, &mut self.allowances);
        self.violations
            .extend(StreamViolationKind::of_data(event, &data));
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

/// Returns whether only an event of a raid can cause an event.
const fn needs_cause(data: &PlayerEventData) -> bool {
    matches!(
        data,
        PlayerEventData::XpEarned {
            source: XpSource::Task | XpSource::Contribution,
            ..
        } | PlayerEventData::RaidJoined { .. }
            | PlayerEventData::RaidLeft { .. }
            | PlayerEventData::RaidEnded { .. }
    )
}

/// Checks that an item comes once, and is worn only by a player who has it.
fn check_item(state: &PlayerState, event: &PlayerEvent) -> Option<StreamViolationKind> {
    let seq = event.seq;
    match &event.data {
        PlayerEventData::ItemGranted { item, .. } if state.items.contains(item) => {
            let item = item.clone();
            Some(StreamViolationKind::ItemTwice { seq, item })
        }
        PlayerEventData::ItemEquipped { item, .. } if !state.items.contains(item) => {
            let item = item.clone();
            Some(StreamViolationKind::ItemNotHad { seq, item })
        }
        _ => None,
    }
}
