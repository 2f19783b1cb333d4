//! The contributions on which a streak rests, and the fold of its events.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::event::XpSource;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use serde::{Deserialize, Serialize};

use crate::player::day::DaySettings;
use crate::player::fold::PlayerFold;

/// What the rules of a streak need beside what devices see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreakMoments {
    /// The contribution that kept the latest day; `None` if there is no streak.
    pub(super) kept: Option<DayMoment>,
    /// The latest contribution; `None` if there was none since a streak was lost.
    pub(super) active: Option<DayMoment>,
    /// How many days the streak had that was lost last.
    pub(super) lost_days: u64,
    /// When a streak was repaired last.
    pub(super) repaired_at: Option<UnixMillis>,
}

/// A moment, and what decided the player's day then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DayMoment {
    pub(super) at: UnixMillis,
    pub(super) settings: DaySettings,
}

impl DayMoment {
    /// Returns how many dates later a moment is, by what decides the day then or now.
    pub(super) fn days_until(&self, later: &DayMoment) -> i64 {
        let days = [&self.settings, &later.settings]
            .map(|settings| settings.days_between(self.at, later.at));
        days[0].min(days[1])
    }

    /// Returns when the last one of the days that follow ends, by what decides the day then or now.
    pub(super) fn end_after(&self, days: u64, now: &DaySettings) -> UnixMillis {
        let ends = [&self.settings, now].map(|settings| settings.end_after(self.at, days));
        ends[0].max(ends[1])
    }
}

impl PlayerFold {
    /// Folds what an event means for the streak.
    pub(in crate::player) fn apply_to_streak(&mut self, event: &PlayerEvent) {
        let streak = &mut self.state.streak;
        match &event.data {
            PlayerEventData::XpEarned {
                counted, source, ..
            } if *counted > 0 && *source != XpSource::Grant => {
                self.streak.active = Some(self.moment(event.at));
            }
            PlayerEventData::DayKept {
                day,
                days,
                best,
                freezes,
                since,
                lapses_at,
                ..
            } => {
                let is_another = *days != streak.days;
                streak.day = Some(day.clone());
                streak.days = *days;
                streak.best = *best;
                streak.freezes = *freezes;
                streak.lapses_at = Some(*lapses_at);
                let moment = self.moment(*since);
                if is_another {
                    self.streak.kept = Some(moment.clone());
                }
                self.streak.active = Some(moment);
            }
            PlayerEventData::StreakFrozen {
                freezes, lapses_at, ..
            } => {
                streak.freezes = *freezes;
                streak.lapses_at = Some(*lapses_at);
            }
            PlayerEventData::StreakLost {
                days,
                repairable_until,
            } => {
                streak.days = 0;
                streak.lapses_at = None;
                streak.repairable_until = *repairable_until;
                self.streak.lost_days = *days;
                self.streak.kept = None;
                self.streak.active = None;
            }
            PlayerEventData::StreakRepaired {
                days,
                best,
                since,
                lapses_at,
                ..
            } => {
                streak.days = *days;
                streak.best = *best;
                streak.lapses_at = Some(*lapses_at);
                streak.repairable_until = None;
                self.streak.repaired_at = Some(event.at);
                if let Some(since) = since {
                    let moment = self.moment(*since);
                    self.streak.kept = Some(moment.clone());
                    self.streak.active = Some(moment);
                }
            }
            PlayerEventData::SettingSet {
                lapses_at: Some(lapses_at),
                ..
            } => streak.lapses_at = Some(*lapses_at),
            _ => {}
        }
    }

    fn moment(&self, at: UnixMillis) -> DayMoment {
        let settings = self.day_settings();
        DayMoment { at, settings }
    }
}
