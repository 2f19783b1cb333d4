//! Leaderboards and their windows.

use jiff::civil::{Date, date};
use jiff::{Span, ToSpan};
use raidhall_protocol::UnixMillis;
use raidhall_protocol::progression::{Board, BoardWindow};

use crate::calendar::Calendar;

/// The Monday before the Unix epoch, with which week 0 begins.
const FIRST_WEEK: Date = date(1969, 12, 29);
const EPOCH: Date = date(1970, 1, 1);

/// A leaderboard, and when its windows open and close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardDefinition {
    /// What clients show of it.
    pub shown: Board,
    pub(super) calendar: Calendar,
}

impl BoardDefinition {
    /// Returns the number of the window that a moment belongs to. Each window has the number after
    /// that of the one before it: days are counted from the Unix epoch, weeks from the one with the
    /// epoch, quarters from the first one of 1970. A leaderboard of all time has the window 0.
    pub fn number_at(&self, at: UnixMillis) -> i64 {
        let day = self.calendar.day_of(at);
        match self.shown.window {
            BoardWindow::Daily => days_between(EPOCH, day),
            BoardWindow::Weekly => days_between(FIRST_WEEK, day).div_euclid(7),
            BoardWindow::Season => {
                let years = i64::from(day.year() - EPOCH.year());
                years * 4 + i64::from((day.month() - 1) / 3)
            }
            BoardWindow::AllTime => 0,
        }
    }

    /// Returns when a window opens; `None` if it has always been open or lies beyond the calendar.
    pub fn opens_at(&self, number: i64) -> Option<UnixMillis> {
        let (first, span) = match self.shown.window {
            BoardWindow::Daily => (EPOCH, Span::new().try_days(number)),
            BoardWindow::Weekly => (FIRST_WEEK, Span::new().try_weeks(number)),
            BoardWindow::Season => {
                let months = number.checked_mul(3)?;
                (EPOCH, Span::new().try_months(months))
            }
            BoardWindow::AllTime => return None,
        };
        let first_day = first.checked_add(span.ok()?).ok()?;
        // The calendar's last days are left out, so that a time zone cannot pass its end.
        let is_within = first_day < Date::MAX.saturating_sub(1.week());
        is_within.then(|| self.calendar.begin_of(first_day))
    }

    /// Returns when a window closes: from then on the next one is open. `None` if it never closes.
    pub fn closes_at(&self, number: i64) -> Option<UnixMillis> {
        self.opens_at(number.checked_add(1)?)
    }
}

fn days_between(earlier: Date, later: Date) -> i64 {
    later.duration_since(earlier).as_hours() / 24
}
