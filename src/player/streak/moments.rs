//! The contributions on which a streak rests, and the fold of its events.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::event::XpSource;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use serde::{Deserialize, Serialize};

use super::reminders::STREAK_AT_RISK;
use crate::player::day::DaySettings;
use crate::player::fold::PlayerFold;

/// What the rules of a streak need beside what devices see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreakMoments {
    /// The contribution that kept the latest day; `None` if there is no streak.
    pub(super) kept: Option<DayMoment>,
    /// The latest contribution; `None` if there was none since a streak was lost.
    pub(super) active: Option<DayMoment>,
    /// The streak that was lost last; `None` if it was repaired.
    pub(super) lost: Option<LostStreak>,
    /// When the player was last reminded that the streak is at risk.
    pub(super) reminded_at: Option<UnixMillis>,
    /// When the player repaired a streak last.
    pub(super) repaired_at: Option<UnixMillis>,
}

/// A streak as it was when it was lost, for a contribution from before its end that comes later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LostStreak {
    pub(super) days: u64,
    pub(super) freezes: u64,
    pub(super) lapses_at: UnixMillis,
    pub(super) kept: DayMoment,
    pub(super) active: Option<DayMoment>,
    /// The contribution that began the next streak; `None` if none has.
    pub(super) next: Option<DayMoment>,
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

impl StreakMoments {
    /// Forgets the streak that was lost last, so that it cannot come back.
    pub(in crate::player) fn forget_lost(&mut self) {
        self.lost = None;
    }
}

impl PlayerFold {
    /// Folds what an event means for the streak.
    pub(in crate::player) fn apply_to_streak(&mut self, event: &PlayerEvent) {
        let streak = &mut self.state.streak;
        match &event.data {
            PlayerEventData::XpEarned {
                counted,
                source,
                happened_at,
                ..
            } if *counted > 0 && *source != XpSource::Grant => self.note_active(*happened_at),
            PlayerEventData::DayKept {
                day,
                days,
                best,
                freezes,
                since,
                lapses_at,
                ..
            } => {
                let is_first = streak.days == 0;
                let is_another = *days != streak.days;
                streak.day = Some(day.clone());
                streak.days = *days;
                streak.best = *best;
                streak.freezes = *freezes;
                streak.lapses_at = Some(*lapses_at);
                let moment = self.moment(*since);
                if let Some(lost) = self.streak.lost.as_mut().filter(|_| is_first) {
                    lost.next = Some(moment.clone());
                }
                if is_another {
                    self.streak.kept = Some(moment);
                }
                self.note_active(*since);
            }
            PlayerEventData::StreakFrozen {
                freezes, lapses_at, ..
            } => {
                streak.freezes = *freezes;
                streak.lapses_at = Some(*lapses_at);
            }
            PlayerEventData::StreakLost {
                days,
                repairable_days,
                repairable_from,
                repairable_until,
            } => {
                let lapsed_at = streak.lapses_at.take();
                streak.days = 0;
                streak.repairable_days = *repairable_days;
                streak.repairable_from = *repairable_from;
                streak.repairable_until = *repairable_until;
                let freezes = streak.freezes;
                let active = self.streak.active.take();
                let kept = self.streak.kept.take().zip(lapsed_at);
                self.streak.lost = kept.map(|(kept, lapses_at)| LostStreak {
                    days: *days,
                    freezes,
                    lapses_at,
                    kept,
                    active,
                    next: None,
                });
            }
            PlayerEventData::StreakRepaired {
                days,
                best,
                freezes,
                since,
                lapses_at,
                ..
            } => {
                // A correction before it has brought days, but not their end.
                let is_corrected = streak.days > 0 && streak.lapses_at.is_none();
                streak.days = *days;
                streak.best = *best;
                streak.freezes = *freezes;
                streak.lapses_at = Some(*lapses_at);
                streak.repairable_days = 0;
                streak.repairable_from = None;
                streak.repairable_until = None;
                if event.cause.is_none() && !is_corrected {
                    self.streak.repaired_at = Some(event.at);
                }
                let lost = self.streak.lost.take();
                if let Some(since) = since {
                    let moment = self.moment(*since);
                    self.streak.kept = Some(moment.clone());
                    self.streak.active = Some(moment);
                } else if let Some(lost) = lost.filter(|_| self.streak.kept.is_none()) {
                    self.streak.kept = Some(lost.kept);
                    self.streak.active = lost.active;
                }
            }
            PlayerEventData::Notified { kind, .. } if kind == STREAK_AT_RISK => {
                self.streak.reminded_at = Some(event.at);
            }
            PlayerEventData::SettingSet {
                lapses_at: Some(lapses_at),
                ..
            } => streak.lapses_at = Some(*lapses_at),
            _ => {}
        }
    }

    /// Takes note of a contribution. One that is tried again may come after later ones.
    fn note_active(&mut self, at: UnixMillis) {
        let is_older = self.streak.active.as_ref().is_some_and(|it| at < it.at);
        if !is_older {
            self.streak.active = Some(self.moment(at));
        }
    }

    fn moment(&self, at: UnixMillis) -> DayMoment {
        let settings = self.day_settings();
        DayMoment { at, settings }
    }
}
