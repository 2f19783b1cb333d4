//! Reminders that a streak is at risk, on days that are not kept yet.

use jiff::ToSpan;
use jiff::civil::Date;
use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::PlayerEventData;
use serde_json::{Value, json};

use super::HOUR_MS;
use crate::player::fold::PlayerFold;

/// Kind of the notification that a streak is at risk.
pub(super) const STREAK_AT_RISK: &str = "streak_at_risk";

/// The shortest streak of which a player is reminded, in days.
const REMINDED_DAYS_MIN: u64 = 3;
/// The hour of reminders, unless the player has set another one.
const REMINDER_HOUR: u64 = 20;
/// How much later than its moment a reminder is still sent.
const REMINDER_DELAY_MAX_MS: i64 = 3 * HOUR_MS;

/// Returns when something is due for the player's streak: its end, or a reminder before that. `None`
/// if there is no streak.
pub fn next_due(fold: &PlayerFold, now: UnixMillis) -> Option<UnixMillis> {
    let lapses_at = fold.state.streak.lapses_at?;
    let reminder = next_reminder(fold, now);
    Some(reminder.map_or(lapses_at, |reminder| reminder.min(lapses_at)))
}

/// Returns the reminder that is due at a settled moment, and its own moment: all contributions up to
/// then are in the fold.
pub fn remind(
    fold: &PlayerFold,
    settled_at: UnixMillis,
    now: UnixMillis,
) -> Option<(UnixMillis, PlayerEventData)> {
    let reminder = next_reminder(fold, now).filter(|reminder| *reminder <= settled_at)?;
    let streak = &fold.state.streak;
    let notified = PlayerEventData::Notified {
        kind: STREAK_AT_RISK.to_owned(),
        data: json!({"days": streak.days, "lapses_at": streak.lapses_at}),
    };
    Some((reminder, notified))
}

/// Returns the moment of the next reminder, which may be past a little. There is one on each day
/// without a contribution before the streak lapses.
fn next_reminder(fold: &PlayerFold, now: UnixMillis) -> Option<UnixMillis> {
    let streak = &fold.state.streak;
    let lapses_at = streak.lapses_at.filter(|lapses_at| now < *lapses_at)?;
    let setting = |key: &str| Some(&fold.state.settings.get(key)?.value);
    let is_off = setting("notify.streak_at_risk") == Some(&Value::Bool(false));
    if is_off || streak.days < REMINDED_DAYS_MIN {
        return None;
    }
    let hour = setting("notify.streak_hour").and_then(Value::as_u64);
    let hour = hour.unwrap_or(REMINDER_HOUR);
    let settings = fold.day_settings();
    let since = now.plus(-REMINDER_DELAY_MAX_MS);
    let moments = fold.streak.kept.iter().chain(&fold.streak.active);
    let passed = moments
        .map(|moment| moment.at)
        .chain(fold.streak.reminded_at);
    let passed = passed.map(|at| settings.day_of(at)).max()?;
    let first = settings.day_of(since).yesterday().ok()?;
    let first: Date = passed.tomorrow().ok()?.max(first);
    let moments = first
        .series(1.day())
        .map(|day| (day, settings.moment_of(day, hour)));
    let mut moments = moments.take_while(|(_, moment)| *moment < lapses_at);
    // A day that a journey or a change of the clock leaves out has no such moment.
    let next = moments.find(|(day, at)| since < *at && settings.day_of(*at) == *day);
    next.map(|(_, moment)| moment)
}
