//! A player's streak: how many of their days in a row were kept with XP of raids that counts.
//!
//! **What a contribution does.** Days lie between it and the contribution that kept the latest day:
//! the smaller number of dates in the time zone of then and in that of now. Zero adds nothing, and
//! any more adds one day. Days that were missed between them take a freeze each.
//!
//! **When a streak is lost.** The contribution that comes at [`Streak::lapses_at`] or later is too
//! late; one that comes before keeps the streak. It is the end of the first day that is neither kept
//! nor covered by a freeze, the latest of those by the zones of then and now, counted from the
//! contribution that kept the latest day and from the latest one of all. So a journey never costs a
//! streak with a contribution on each day. Freezes are taken when the next day is kept: a streak that
//! is lost takes none, because they cover all missed days or none.
//!
//! Events carry `lapses_at`, so a change of the zone database decides nothing again.

mod late;
mod moments;
mod reminders;
#[cfg(test)]
mod tests;

use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::PlayerEventData;
use raidhall_protocol::player::event::CoinsReason;
use raidhall_protocol::player::state::Streak;
use raidhall_protocol::progression::StreakRules;

use self::moments::DayMoment;
pub use self::moments::StreakMoments;
pub use self::reminders::{next_due, remind};
use super::day::DaySettings;
use super::fold::PlayerFold;
use super::rewards::Happening;
use crate::error::Error;

/// How much later than events of other raids a contribution may be committed that happened before
/// them: twice the longest time that a commit is tried for, and 5 s. A streak that has lapsed is not
/// lost before, unless a contribution shows that it is.
pub const CONTRIBUTION_DELAY_MAX_MS: i64 = 125_000;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Returns the loss of a streak that had lapsed at a settled moment: all contributions up to it are
/// in the fold. The loss happens at `at`.
pub fn lapse_streak(
    fold: &PlayerFold,
    settled_at: UnixMillis,
    at: UnixMillis,
    rules: &StreakRules,
) -> Option<PlayerEventData> {
    let streak = &fold.state.streak;
    let lapsed_at = streak
        .lapses_at
        .filter(|lapses_at| *lapses_at <= settled_at)?;
    let at = at.max(fold.at);
    let from = lapsed_at.max(next_repair_at(fold, rules));
    let until = lapsed_at.plus(rules.repair_hours.cast_signed() * HOUR_MS);
    let earlier_until = streak.repairable_until.filter(|until| at < *until);
    let is_earlier_longer = earlier_until.is_some() && streak.repairable_days > streak.days;
    let is_repairable = at < until && from < until;
    let (repairable_days, repairable_from, repairable_until) = if is_earlier_longer {
        (
            streak.repairable_days,
            streak.repairable_from,
            earlier_until,
        )
    } else if is_repairable {
        (streak.days, Some(from), Some(until))
    } else {
        (0, None, None)
    };
    Some(PlayerEventData::StreakLost {
        days: streak.days,
        repairable_days,
        repairable_from,
        repairable_until,
    })
}

/// Returns what a contribution that counts does for the streak. A streak that has lapsed then is
/// followed by a new one, and one that was lost too early comes back.
pub fn keep_day(fold: &PlayerFold, at: UnixMillis, rules: &StreakRules) -> Vec<PlayerEventData> {
    let lost = fold.streak.lost.as_ref();
    if let Some(lost) = lost.filter(|lost| at < lost.lapses_at) {
        return late::keep_lost_day(fold, lost, at, rules);
    }
    let streak = &fold.state.streak;
    let settings = fold.day_settings();
    let now = DayMoment { at, settings };
    let lapses_at = streak.lapses_at.filter(|lapses_at| at < *lapses_at);
    let (Some(kept), Some(lapses_at)) = (&fold.streak.kept, lapses_at) else {
        let freezes = freezes_after(1, streak.freezes, rules);
        return vec![day_kept(streak, &now, 1, freezes)];
    };
    let gap = kept.days_until(&now);
    if gap < 1 {
        // A new date in another zone can give the streak more time.
        let again = day_kept(streak, &now, streak.days, streak.freezes);
        let is_later = now.end_after(1 + streak.freezes, &now.settings) > lapses_at;
        return is_later.then_some(again).into_iter().collect();
    }
    let since_active = fold.streak.active.as_ref().map(|it| it.days_until(&now));
    let gap = since_active.map_or(gap, |days| gap.min(days.max(1)));
    let missed = (gap - 1).cast_unsigned().min(streak.freezes);
    let days = streak.days + 1;
    let left = streak.freezes - missed;
    let frozen = (missed > 0).then_some(PlayerEventData::StreakFrozen {
        days_frozen: missed,
        freezes: left,
        lapses_at,
    });
    let kept = day_kept(streak, &now, days, freezes_after(days, left, rules));
    frozen.into_iter().chain([kept]).collect()
}

/// Returns how many freezes there are once a day was kept, which may earn one.
fn freezes_after(days: u64, left: u64, rules: &StreakRules) -> u64 {
    let is_earned = days.is_multiple_of(rules.days_per_freeze) && left < rules.freezes_max;
    left + u64::from(is_earned)
}

fn day_kept(streak: &Streak, now: &DayMoment, days: u64, freezes: u64) -> PlayerEventData {
    PlayerEventData::DayKept {
        day: now.settings.day_of(now.at).to_string(),
        zone: now.settings.zone.clone(),
        days,
        best: streak.best.max(days),
        freezes,
        since: now.at,
        lapses_at: now.end_after(1 + freezes, &now.settings),
    }
}

/// Returns when the streak lapses once other settings decide the player's day. It never lapses
/// earlier than before, and what has lapsed stays so.
pub(super) fn lapses_at_with(
    fold: &PlayerFold,
    settings: &DaySettings,
    at: UnixMillis,
) -> Option<UnixMillis> {
    let Streak {
        lapses_at, freezes, ..
    } = fold.state.streak;
    let lapses_at = lapses_at?;
    if lapses_at <= at {
        return Some(lapses_at);
    }
    let moments = fold.streak.kept.iter().chain(&fold.streak.active);
    let ends = moments.map(|moment| moment.end_after(1 + freezes, settings));
    Some(ends.fold(lapses_at, UnixMillis::max))
}

/// Repairs the streak that was lost: it counts as kept up to the day before.
pub(super) fn repair(
    fold: &PlayerFold,
    rules: Option<&StreakRules>,
    now: UnixMillis,
) -> Result<Vec<Happening>, Error> {
    let streak = &fold.state.streak;
    let is_repairable = streak.repairable_until.is_some_and(|until| now < until);
    let Some(rules) = rules.filter(|_| is_repairable) else {
        return Err(Error::WrongStatus("There is no lost streak to repair"));
    };
    if streak.repairable_from.is_some_and(|from| now < from) {
        return Err(Error::WrongStatus("A streak was repaired not long ago"));
    }
    if streak.lapses_at.is_some_and(|lapses_at| lapses_at <= now) {
        return Err(Error::WrongStatus("The present streak has lapsed, too"));
    }
    let cost = rules.repair_cost;
    if fold.state.coins < cost {
        return Err(Error::NotEnoughCoins);
    }
    let day_before = day_before(fold, now);
    let days = streak.repairable_days + streak.days;
    let repaired = PlayerEventData::StreakRepaired {
        days,
        best: streak.best.max(days),
        freezes: streak.freezes,
        cost,
        since: streak.lapses_at.is_none().then_some(day_before.at),
        lapses_at: (streak.lapses_at)
            .unwrap_or_else(|| day_before.end_after(1 + streak.freezes, &day_before.settings)),
    };
    let pay = (cost > 0).then_some(Happening::Coins {
        amount: -cost.cast_signed(),
        reason: CoinsReason::Repair,
        note: None,
    });
    let repaired = Happening::Other(repaired);
    Ok(pay.into_iter().chain([repaired]).collect())
}

/// Returns the event that gives a player without a streak one of as many days as a correction says. It
/// counts as kept up to the day before. `None` if there is a streak, whose days the correction changes.
pub(super) fn begin_corrected(
    fold: &PlayerFold,
    days: u64,
    rules: Option<&StreakRules>,
    now: UnixMillis,
) -> Result<Option<PlayerEventData>, Error> {
    if rules.is_none() {
        return Err(Error::WrongStatus("There are no streaks"));
    }
    let streak = &fold.state.streak;
    if streak.lapses_at.is_some_and(|lapses_at| lapses_at <= now) {
        return Err(Error::WrongStatus(
            "The streak has lapsed and is not lost yet",
        ));
    }
    if streak.lapses_at.is_some() {
        return Ok(None);
    }
    let day_before = day_before(fold, now);
    Ok(Some(PlayerEventData::StreakRepaired {
        days,
        best: streak.best.max(days),
        freezes: streak.freezes,
        cost: 0,
        since: Some(day_before.at),
        lapses_at: day_before.end_after(1 + streak.freezes, &day_before.settings),
    }))
}

/// Returns the last moment of the player's day before this one.
fn day_before(fold: &PlayerFold, now: UnixMillis) -> DayMoment {
    let settings = fold.day_settings();
    DayMoment {
        at: settings.end_before(now).plus(-1),
        settings,
    }
}

/// Returns when a streak can be repaired again.
fn next_repair_at(fold: &PlayerFold, rules: &StreakRules) -> UnixMillis {
    let pause_ms = rules.repair_pause_days.cast_signed() * DAY_MS;
    let last = fold.streak.repaired_at;
    last.map_or(UnixMillis(i64::MIN), |last| last.plus(pause_ms))
}
