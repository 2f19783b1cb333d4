//! What is due in a player's stream before a command: the loss of a streak that has lapsed.

use raidhall_protocol::player::PlayerEventData;
use raidhall_protocol::{PlayerId, UnixMillis};

use crate::definitions::Definitions;
use crate::player::{CONTRIBUTION_DELAY_MAX_MS, PlayerFold, lapse_streak};
use crate::store::{Result, Store};

/// Returns the loss of a streak that has lapsed. There is none while a contribution that keeps the
/// streak may still be on its way to the stream.
///
/// # Errors
///
/// Fails if the store does.
pub(super) async fn due_loss(
    store: &dyn Store,
    fold: &PlayerFold,
    definitions: &Definitions,
    now: UnixMillis,
) -> Result<Option<PlayerEventData>> {
    let (Some(rules), Some(lapses_at)) = (&definitions.streaks, fold.state.streak.lapses_at) else {
        return Ok(None);
    };
    let settled_at = lapses_at.plus(CONTRIBUTION_DELAY_MAX_MS);
    if now < settled_at || !is_projected(store, fold.state.id, settled_at).await? {
        return Ok(None);
    }
    Ok(lapse_streak(fold, now, rules))
}

/// Returns whether the projector has passed a moment that lies in the past, and no event of a raid
/// waits to be projected again for the player.
async fn is_projected(store: &dyn Store, player: PlayerId, at: UnixMillis) -> Result<bool> {
    // Before the feed is read: an open transaction hides what was committed after it began.
    let is_feed_held = store.oldest_open_transaction().await?.is_some();
    let place = store.projector_place().await?;
    let ahead = store.read_feed(place, 1).await?;
    let is_passed = match ahead.events.first() {
        Some(next) => next.event.at >= at,
        None => !is_feed_held,
    };
    if !is_passed {
        return Ok(false);
    }
    let before = PlayerId::try_from(player.get() - 1).ok();
    let failed = store.failed_causes(before, 1).await?;
    Ok(failed.iter().all(|it| it.player != player))
}
