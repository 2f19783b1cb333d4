//! Days of the calendar in a time zone: which day a moment belongs to, and when a day begins.

use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use raidhall_protocol::UnixMillis;

/// Days that begin at an hour on the clock of a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    zone: TimeZone,
    /// The hour on the clock at which each day begins.
    start_hour: u8,
}

impl Calendar {
    /// Returns the calendar of a time zone; `None` if this release does not know the zone.
    pub fn find(zone: &str, start_hour: u8) -> Option<Calendar> {
        let zone = TimeZoneDatabase::bundled().get(zone).ok()?;
        Some(Calendar { zone, start_hour })
    }

    /// Returns the calendar of UTC.
    pub const fn utc(start_hour: u8) -> Calendar {
        Calendar {
            zone: TimeZone::UTC,
            start_hour,
        }
    }

    /// Returns the day of a moment: the date on the clock, less the hour at which days begin.
    pub fn day_of(&self, at: UnixMillis) -> Date {
        let at = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH);
        let datetime = self.zone.to_datetime(at);
        datetime.saturating_sub(self.start()).date()
    }

    /// Returns when a day begins: before that it is an earlier day.
    pub fn begin_of(&self, day: Date) -> UnixMillis {
        let begin = day.to_datetime(Time::midnight());
        let begin = begin.saturating_add(self.start());
        let begin = self.zone.to_ambiguous_timestamp(begin);
        let offset = begin.offset();
        let both = begin.earlier().and_then(|it| Ok((it, begin.later()?)));
        let Ok((earlier, later)) = both else {
            return UnixMillis(i64::MAX); // beyond the calendar
        };
        let millis = |at: Timestamp| UnixMillis(at.as_millisecond());
        match offset {
            AmbiguousOffset::Unambiguous { .. } => millis(later),
            // The clock jumps over the hour at which the day begins.
            AmbiguousOffset::Gap { .. } => {
                let jump = self.zone.following(earlier).next();
                millis(jump.map_or(later, |jump| jump.timestamp()))
            }
            // The clock shows the hour twice. It may have gone back into the day before in between.
            AmbiguousOffset::Fold { .. } => {
                let is_back = self.day_of(millis(later).plus(-1)) < day;
                millis(if is_back { later } else { earlier })
            }
        }
    }

    /// Returns when the clock shows an hour on a day, which is on the next date for an hour before the
    /// one at which days begin. If the clock jumps over the hour, it is as much later.
    pub fn moment_of(&self, day: Date, hour: u64) -> UnixMillis {
        let is_next = hour < u64::from(self.start_hour);
        let date = if is_next { day.tomorrow() } else { Ok(day) };
        let hour = SignedDuration::from_hours(hour.cast_signed());
        let moment = date.and_then(|date| {
            let shown = date.to_datetime(Time::midnight()).saturating_add(hour);
            self.zone.to_timestamp(shown)
        });
        moment.map_or(UnixMillis(i64::MAX), |at| UnixMillis(at.as_millisecond()))
    }

    fn start(&self) -> SignedDuration {
        SignedDuration::from_hours(self.start_hour.into())
    }
}
