//! When the loss of a streak that has lapsed is due.

use raidhall_protocol::{PlayerId, UnixMillis};

use crate::player::{CONTRIBUTION_DELAY_MAX_MS, PlayerFold};
use crate::store::{FeedCursor, Result, Store};

/// Returns the moment up to which all contributions have been projected; `None` if it is not known,
/// because an open transaction may hide some. `place` is the projector's, and `now` not later than
/// the call.
///
/// # Errors
///
/// Fails if the store does.
pub async fn settled_moment(
    store: &dyn Store,
    place: FeedCursor,
    now: UnixMillis,
) -> Result<Option<UnixMillis>> {
    // Before the feed is read: an open transaction hides what was committed after it began.
    let is_feed_held = store.oldest_open_transaction().await?.is_some();
    let ahead = store.read_feed(place, 1).await?;
    let passed = match ahead.events.first() {
        Some(next) => Some(next.event.at.min(now)),
        None => (!is_feed_held).then_some(now),
    };
    Ok(passed.map(|passed| passed.plus(-CONTRIBUTION_DELAY_MAX_MS)))
}

/// Returns when the streak lapsed whose loss is due before a command; `None` while a contribution
/// that keeps the streak may still be on its way to the stream.
///
/// # Errors
///
/// Fails if the store does.
pub(super) async fn due_lapse(
    store: &dyn Store,
    fold: &PlayerFold,
    now: UnixMillis,
) -> Result<Option<UnixMillis>> {
    let is_late = |lapses_at: &UnixMillis| lapses_at.plus(CONTRIBUTION_DELAY_MAX_MS) <= now;
    let Some(lapses_at) = fold.state.streak.lapses_at.filter(is_late) else {
        return Ok(None);
    };
    let place = store.projector_place().await?;
    let settled_at = settled_moment(store, place, now).await?;
    let is_settled = settled_at.is_some_and(|settled_at| lapses_at <= settled_at);
    if !is_settled || has_failed_cause(store, fold.state.id).await? {
        return Ok(None);
    }
    Ok(Some(lapses_at))
}

/// Returns whether an event of a raid waits to be projected again for the player.
async fn has_failed_cause(store: &dyn Store, player: PlayerId) -> Result<bool> {
    let before = PlayerId::try_from(player.get() - 1).ok();
    let failed = store.failed_causes(before, 1).await?;
    Ok(failed.iter().any(|it| it.player == player))
}
