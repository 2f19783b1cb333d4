//! Contributions from before the end of a streak that come behind its loss.

use raidhall_protocol::player::state::Streak;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};
use raidhall_protocol::{Seq, UnixMillis};

use super::{CountedMoment, DAYS_PER_FREEZE, FREEZES_MAX, StreakJudge};
use crate::fold::apply_to_streak;
use crate::judge::players::allowance::DayBegin;

/// A streak as it was when it was lost.
#[derive(Debug, Clone)]
pub(super) struct JudgedLoss {
    pub(super) streak: Streak,
    pub(super) kept: Option<CountedMoment>,
    pub(super) latest: Option<CountedMoment>,
    /// The contribution that began the next streak.
    pub(super) next: Option<UnixMillis>,
}

impl StreakJudge {
    /// Returns the events of a contribution from before a loss that comes behind it. The past is
    /// judged again as if it had come in time.
    pub(super) fn bring_back(
        &self,
        lost: &JudgedLoss,
        state: &PlayerState,
        at: UnixMillis,
    ) -> Vec<PlayerEventData> {
        let streak = &state.streak;
        let repaired = |past: &Streak, lapses_at| PlayerEventData::StreakRepaired {
            days: past.days,
            best: streak.best.max(past.days),
            freezes: past.freezes,
            cost: 0,
            since: None,
            lapses_at,
        };
        let mut past = PastStreak::new(lost, state);
        let events = past.keep_day(at);
        let Some(next) = lost.next.filter(|_| !events.is_empty()) else {
            let lapses_at = lost.streak.lapses_at.filter(|_| !events.is_empty());
            let first = lapses_at.map(|lapses_at| repaired(&lost.streak, lapses_at));
            return first.into_iter().chain(events).collect();
        };
        if past.state.streak.lapses_at <= Some(next) {
            return Vec::new();
        }
        past.keep_day(next);
        let first = &past.state.streak;
        let mut joined = first.clone();
        joined.days += streak.days - 1;
        let earned = |days: u64| days / DAYS_PER_FREEZE;
        joined.freezes = (first.freezes + earned(joined.days) + streak.freezes)
            .saturating_sub(earned(first.days) + lost.streak.freezes + earned(streak.days))
            .min(FREEZES_MAX);
        let begin = DayBegin::from_settings(&state.settings);
        let moments = [self.kept, self.latest].into_iter().flatten();
        let ends = moments.map(|it| it.end_after(1 + joined.freezes, begin));
        let present = streak
            .lapses_at
            .filter(|_| joined.freezes >= streak.freezes);
        let lapses_at = ends.chain(present).max();
        lapses_at
            .map(|at| repaired(&joined, at))
            .into_iter()
            .collect()
    }
}

/// A lost streak, and what would have become of it.
struct PastStreak {
    judge: StreakJudge,
    state: PlayerState,
}

impl PastStreak {
    fn new(lost: &JudgedLoss, state: &PlayerState) -> PastStreak {
        PastStreak {
            judge: StreakJudge {
                kept: lost.kept,
                latest: lost.latest,
                ..StreakJudge::default()
            },
            state: PlayerState {
                streak: lost.streak.clone(),
                ..state.clone()
            },
        }
    }

    fn keep_day(&mut self, at: UnixMillis) -> Vec<PlayerEventData> {
        let events = self.judge.keep_day(&self.state, at);
        for data in &events {
            let event = PlayerEvent {
                seq: Seq::ZERO,
                at,
                cause: None,
                data: data.clone(),
            };
            self.judge.add(&self.state, &event);
            apply_to_streak(&mut self.state.streak, data);
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use raidhall_protocol::player::event::{RaidPlace, XpSource};
    use raidhall_protocol::server::PlayerRef;
    use raidhall_protocol::{PlayerId, RaidId};

    use super::*;
    use crate::fold::StreamFold;

    const HOUR_MS: i64 = 3_600_000;
    const FIRST_NOON: UnixMillis = UnixMillis(1_767_225_600_000 + 12 * HOUR_MS);

    /// A stream of contributions that follows what the judge expects.
    struct JudgedStream {
        judge: StreakJudge,
        fold: StreamFold,
    }

    impl JudgedStream {
        fn add(&mut self, at: UnixMillis, data: PlayerEventData) {
            let event = PlayerEvent {
                seq: self.fold.seq().next(),
                at,
                cause: Some(RaidPlace {
                    raid: RaidId::try_from(7_u64).expect("an id"),
                    seq: Seq(1),
                }),
                data,
            };
            let before = self.state().clone();
            self.judge.add(&before, &event);
            self.fold.apply(&event).expect("the next event");
        }

        fn state(&self) -> &PlayerState {
            self.fold.state().expect("a state")
        }

        /// Adds a contribution and what it brings. Returns the types of the events.
        fn contribute(&mut self, at: UnixMillis) -> Vec<&'static str> {
            let lost = self.judge.data_of_loss(&self.state().streak, at);
            let losses: Vec<_> = lost.into_iter().collect();
            for lost in &losses {
                self.add(at, lost.clone());
            }
            let earned = PlayerEventData::XpEarned {
                amount: 1,
                counted: 1,
                earned_xp: 1,
                xp: 1,
                tasks: 1,
                source: XpSource::Contribution,
                allowance: None,
                happened_at: at,
                level_xp: 1,
                next_level_xp: 100,
                skill: None,
                skill_xp: None,
                skill_level: None,
                coins: 0,
                coins_earned: 0,
                note: None,
                counters: Vec::new(),
            };
            let events = self.judge.events_of_xp(self.state(), &earned);
            self.add(at, earned);
            for data in &events {
                self.add(at, data.clone());
            }
            let all = losses.iter().chain(&events);
            all.map(PlayerEventData::kind).collect()
        }
    }

    fn stream_of_days(days: i64) -> JudgedStream {
        let id = PlayerId::try_from(6_u64).expect("an id");
        let name = "Ben".to_owned();
        let mut stream = JudgedStream {
            judge: StreakJudge::default(),
            fold: StreamFold::of_new_player(&PlayerRef { id, name }),
        };
        for day in 0..days {
            stream.contribute(FIRST_NOON.plus(day * 24 * HOUR_MS));
        }
        stream
    }

    #[test]
    fn a_late_contribution_brings_a_lost_streak_back() {
        let mut stream = stream_of_days(6);
        let lapses_at = stream.state().streak.lapses_at.expect("a streak");
        let lost = ["streak_lost", "day_kept"];
        assert_eq!(stream.contribute(lapses_at.plus(5)), lost);
        assert_eq!(stream.contribute(lapses_at.plus(-5)), ["streak_repaired"]);
        let streak = &stream.state().streak;
        assert_eq!((streak.days, streak.freezes), (8, 1));
        assert_eq!(stream.contribute(lapses_at.plus(-4)), [""; 0]);
    }
}
