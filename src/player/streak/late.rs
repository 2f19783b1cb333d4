//! Contributions from before the end of a streak that was lost already.
//!
//! Two raids can be committed in another order than that of their times, and an effect that failed is
//! tried again later. So a contribution can come after the loss that it would have prevented. It
//! brings the streak back, with the days kept since: as if it had come in time.

use raidhall_protocol::UnixMillis;
use raidhall_protocol::player::{PlayerEvent, PlayerEventData};
use raidhall_protocol::progression::StreakRules;

use super::keep_day;
use super::moments::LostStreak;
use crate::player::fold::PlayerFold;

/// Returns what a contribution from before the end of the streak that was lost last does. It does
/// nothing if the streak would not have had another day, or would have been lost all the same before
/// the next one began.
pub(super) fn keep_lost_day(
    fold: &PlayerFold,
    lost: &LostStreak,
    at: UnixMillis,
    rules: &StreakRules,
) -> Vec<PlayerEventData> {
    let mut past = before_loss(fold, lost);
    let kept = keep_day(&past, at, rules);
    if kept.is_empty() {
        return Vec::new();
    }
    let streak = &fold.state.streak;
    let Some(next) = &lost.next else {
        let repaired = PlayerEventData::StreakRepaired {
            days: lost.days,
            best: streak.best,
            freezes: lost.freezes,
            cost: 0,
            since: None,
            lapses_at: lost.lapses_at,
        };
        return [repaired].into_iter().chain(kept).collect();
    };
    apply(&mut past, kept);
    if past.state.streak.lapses_at <= Some(next.at) {
        return Vec::new();
    }
    let kept = keep_day(&past, next.at, rules);
    apply(&mut past, kept);
    // The first day of the next streak is in the past now; the others join it.
    let past = &past.state.streak;
    let days = past.days + streak.days - 1;
    let earned = |days: u64| days / rules.days_per_freeze;
    let had = past.freezes + earned(days) - earned(past.days) + streak.freezes;
    let freezes = had
        .saturating_sub(lost.freezes + earned(streak.days))
        .min(rules.freezes_max);
    let moments = fold.streak.kept.iter().chain(&fold.streak.active);
    let settings = fold.day_settings();
    let ends = moments.map(|moment| Some(moment.end_after(1 + freezes, &settings)));
    // A change of the zone may have given it more time.
    let present = streak.lapses_at.filter(|_| freezes >= streak.freezes);
    let lapses_at = ends.fold(present, Option::max);
    let repaired = lapses_at.map(|lapses_at| PlayerEventData::StreakRepaired {
        days,
        best: streak.best.max(days),
        freezes,
        cost: 0,
        since: None,
        lapses_at,
    });
    repaired.into_iter().collect()
}

/// Returns the fold with the streak as it was before its loss.
fn before_loss(fold: &PlayerFold, lost: &LostStreak) -> PlayerFold {
    let mut past = fold.clone();
    let streak = &mut past.state.streak;
    streak.days = lost.days;
    streak.freezes = lost.freezes;
    streak.lapses_at = Some(lost.lapses_at);
    past.streak.kept = Some(lost.kept.clone());
    past.streak.active.clone_from(&lost.active);
    past.streak.lost = None;
    past
}

fn apply(fold: &mut PlayerFold, events: Vec<PlayerEventData>) {
    for data in events {
        fold.apply(&PlayerEvent {
            seq: fold.seq.next(),
            at: fold.at,
            cause: None,
            data,
        });
    }
}
