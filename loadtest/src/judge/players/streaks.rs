//! What contributions do for a player's streak, written from the protocol's specification.

mod late;

use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::event::XpSource;
use raidhall_protocol::player::state::Streak;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData, PlayerState};

use self::late::JudgedLoss;
use super::allowance::DayBegin;

const DAYS_PER_FREEZE: u64 = 7;
const FREEZES_MAX: u64 = 2;
pub(super) const REPAIR_COST: i64 = 100;
const REPAIR_MS: i64 = 48 * 3_600_000;
const REPAIR_PAUSE_MS: i64 = 30 * 24 * 3_600_000;

/// The contributions on which a player's streak rests, event by event.
#[derive(Debug, Clone, Default)]
pub(super) struct StreakJudge {
    /// The contribution that kept the latest day.
    kept: Option<CountedMoment>,
    /// The latest contribution of all.
    latest: Option<CountedMoment>,
    /// The streak that was lost last, unless it was repaired.
    lost: Option<JudgedLoss>,
    repaired_at: Option<UnixMillis>,
}

#[derive(Debug, Clone, Copy)]
struct CountedMoment {
    at: UnixMillis,
    begin: DayBegin,
}

impl CountedMoment {
    fn days_until(self, later: CountedMoment) -> i64 {
        let days =
            [self.begin, later.begin].map(|begin| begin.day_of(later.at) - begin.day_of(self.at));
        days[0].min(days[1])
    }

    /// Returns the end of the last one of the days that follow, with the settings of now.
    fn end_after(self, days: u64, now: DayBegin) -> UnixMillis {
        let end = |begin: DayBegin| begin.end_of(begin.day_of(self.at) + days.cast_signed());
        end(self.begin).max(end(now))
    }
}

impl StreakJudge {
    /// Returns the events that XP brings to the streak of a player in this state.
    pub(super) fn events_of_xp(
        &self,
        state: &PlayerState,
        data: &PlayerEventData,
    ) -> Vec<PlayerEventData> {
        let Some(at) = contributed_at(data) else {
            return Vec::new();
        };
        match &self.lost {
            Some(lost) if Some(at) < lost.streak.lapses_at => self.bring_back(lost, state, at),
            _ => self.keep_day(state, at),
        }
    }

    /// Returns the events of a contribution that comes in time.
    fn keep_day(&self, state: &PlayerState, at: UnixMillis) -> Vec<PlayerEventData> {
        let streak = &state.streak;
        let begin = DayBegin::from_settings(&state.settings);
        let now = CountedMoment { at, begin };
        let day_kept = |days: u64, freezes: u64| PlayerEventData::DayKept {
            day: date_of(begin.day_of(at)),
            zone: zone_of(state),
            days,
            best: streak.best.max(days),
            freezes,
            since: at,
            lapses_at: now.end_after(1 + freezes, begin),
        };
        let (Some(kept), Some(lapses_at)) = (self.kept, streak.lapses_at) else {
            return vec![day_kept(1, streak.freezes)];
        };
        let gap = kept.days_until(now);
        if gap < 1 {
            let is_longer = now.end_after(1 + streak.freezes, begin) > lapses_at;
            let again = is_longer.then(|| day_kept(streak.days, streak.freezes));
            return again.into_iter().collect();
        }
        let since_latest = self.latest.map_or(gap, |latest| latest.days_until(now));
        let missed = gap.min(since_latest.max(1)) - 1;
        let missed = missed.cast_unsigned().min(streak.freezes);
        let left = streak.freezes - missed;
        let days = streak.days + 1;
        let is_earned = days.is_multiple_of(DAYS_PER_FREEZE) && left < FREEZES_MAX;
        let mut events = Vec::new();
        if missed > 0 {
            events.push(PlayerEventData::StreakFrozen {
                days_frozen: missed,
                freezes: left,
                lapses_at,
            });
        }
        events.push(day_kept(days, left + u64::from(is_earned)));
        events
    }

    /// Returns the data that the loss of a streak must have; `None` if it has not lapsed at `at`.
    pub(super) fn data_of_loss(&self, streak: &Streak, at: UnixMillis) -> Option<PlayerEventData> {
        let lapsed_at = streak.lapses_at.filter(|lapses_at| *lapses_at <= at)?;
        let from = self
            .next_repair_at()
            .map_or(lapsed_at, |next| next.max(lapsed_at));
        let until = lapsed_at.plus(REPAIR_MS);
        let is_earlier = streak.repairable_days > streak.days;
        let earlier = streak
            .repairable_until
            .filter(|until| is_earlier && at < *until);
        let own = Some(until).filter(|until| at < *until && from < *until);
        Some(PlayerEventData::StreakLost {
            days: streak.days,
            repairable_days: match (earlier, own) {
                (Some(_), _) => streak.repairable_days,
                (None, Some(_)) => streak.days,
                (None, None) => 0,
            },
            repairable_from: match earlier {
                Some(_) => streak.repairable_from,
                None => own.map(|_| from),
            },
            repairable_until: earlier.or(own),
        })
    }

    /// Returns the data that a repair must have.
    pub(super) fn data_of_repair(&self, state: &PlayerState, at: UnixMillis) -> PlayerEventData {
        let streak = &state.streak;
        let begin = DayBegin::from_settings(&state.settings);
        let day_before = CountedMoment {
            at: begin.end_of(begin.day_of(at) - 1).plus(-1),
            begin,
        };
        let days = streak.repairable_days + streak.days;
        PlayerEventData::StreakRepaired {
            days,
            best: streak.best.max(days),
            freezes: streak.freezes,
            cost: REPAIR_COST.cast_unsigned(),
            since: streak.lapses_at.is_none().then_some(day_before.at),
            lapses_at: (streak.lapses_at)
                .unwrap_or_else(|| day_before.end_after(1 + streak.freezes, begin)),
        }
    }

    /// Returns when the streak lapses after a setting of the day was changed.
    pub(super) fn lapses_at_with(
        &self,
        state: &PlayerState,
        begin: DayBegin,
        at: UnixMillis,
    ) -> Option<UnixMillis> {
        let lapses_at = state.streak.lapses_at?;
        let moments = [self.kept, self.latest].into_iter().flatten();
        let moments = moments.filter(|_| at < lapses_at);
        let ends = moments.map(|it| it.end_after(1 + state.streak.freezes, begin));
        Some(ends.fold(lapses_at, UnixMillis::max))
    }

    /// Takes note of an event and the state before it.
    pub(super) fn add(&mut self, state: &PlayerState, event: &PlayerEvent) {
        let begin = DayBegin::from_settings(&state.settings);
        let moment = |at| Some(CountedMoment { at, begin });
        if let Some(at) = contributed_at(&event.data) {
            self.note_latest(CountedMoment { at, begin });
        }
        match &event.data {
            PlayerEventData::DayKept { days, since, .. } => {
                self.note_latest(CountedMoment { at: *since, begin });
                if *days != state.streak.days {
                    self.kept = moment(*since);
                }
                if let Some(lost) = self.lost.as_mut().filter(|_| state.streak.days == 0) {
                    lost.next = Some(*since);
                }
            }
            PlayerEventData::StreakLost { .. } => {
                self.lost = Some(JudgedLoss {
                    streak: state.streak.clone(),
                    kept: self.kept.take(),
                    latest: self.latest.take(),
                    next: None,
                });
            }
            PlayerEventData::StreakRepaired { since, .. } => {
                if event.cause.is_none() {
                    self.repaired_at = Some(event.at);
                }
                let lost = self.lost.take();
                if let Some(since) = since {
                    self.kept = moment(*since);
                    self.latest = moment(*since);
                } else if let Some(lost) = lost.filter(|_| self.kept.is_none()) {
                    self.kept = lost.kept;
                    self.latest = lost.latest;
                }
            }
            _ => {}
        }
    }

    fn note_latest(&mut self, moment: CountedMoment) {
        if self.latest.is_none_or(|latest| latest.at <= moment.at) {
            self.latest = Some(moment);
        }
    }

    fn next_repair_at(&self) -> Option<UnixMillis> {
        self.repaired_at.map(|last| last.plus(REPAIR_PAUSE_MS))
    }
}

/// Returns when a contribution that counts was made; `None` for all other events.
fn contributed_at(data: &PlayerEventData) -> Option<UnixMillis> {
    match data {
        PlayerEventData::XpEarned {
            counted,
            source,
            happened_at,
            ..
        } if *counted > 0 && *source != XpSource::Grant => Some(*happened_at),
        _ => None,
    }
}

fn zone_of(state: &PlayerState) -> String {
    let zone = state.settings.get("zone");
    let zone = zone.and_then(|zone| zone.value.as_str());
    zone.unwrap_or("UTC").to_owned()
}

/// Returns the date that is so many days after 1970-01-01.
fn date_of(days: i64) -> String {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut rest = days;
    let mut year = 1970;
    while rest >= 365 + i64::from(is_leap(year)) {
        rest -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", rest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_counted_from_the_first_of_1970() {
        for (days, date) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_453, "2025-12-31"),
            (20_785, "2026-11-28"),
        ] {
            assert_eq!(date_of(days), date);
        }
    }
}
