//! Rebuilds a player's state from the store: the saved state and every event after it.

use raidhall_protocol::player::PlayerEvent;
use raidhall_protocol::{PlayerId, Seq};
use tracing::{error, warn};

use crate::player::{FoldError, PlayerFold};
use crate::store::{LoadedStream, Store, StoreError};

/// Events in one read of a whole stream.
const PAGE_EVENTS: u32 = 256;

/// Reason why a stream could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum StreamFault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("event {expected} of the player's stream is missing")]
    Gap { expected: Seq },
}

/// Loads streams, each apart if the store cannot read some of them. Leaves out players who do not
/// exist or were erased.
pub async fn load_each(
    store: &dyn Store,
    players: &[PlayerId],
) -> Result<Vec<(PlayerId, Result<LoadedStream, StoreError>)>, StoreError> {
    match store.load_streams(players).await {
        Err(StoreError::Refused { .. }) => {}
        loaded => return Ok(loaded?.into_iter().map(|(id, it)| (id, Ok(it))).collect()),
    }
    let mut streams = Vec::new();
    for player in players {
        match store.load_streams(&[*player]).await {
            Ok(loaded) => streams.extend(loaded.into_iter().map(|(id, it)| (id, Ok(it)))),
            Err(error @ StoreError::Refused { .. }) => streams.push((*player, Err(error))),
            Err(error) => return Err(error),
        }
    }
    Ok(streams)
}

/// Folds a stream that was loaded. A damaged state is folded again from the whole stream.
pub async fn fold_stream(
    store: &dyn Store,
    player: PlayerId,
    loaded: LoadedStream,
) -> Result<PlayerFold, StreamFault> {
    let LoadedStream {
        name,
        saved_state,
        mut tail,
        ..
    } = loaded;
    let mut fold = PlayerFold::new(player, name);
    if let Some((seq, bytes)) = saved_state {
        match PlayerFold::decode(&bytes) {
            Ok(saved) => fold = saved,
            Err(FoldError::Newer(version)) => {
                return Err(StoreError::NewerVersion { version }.into());
            }
            Err(error) => {
                warn!(%player, %seq, %error, "the player's state is damaged; folding their whole stream");
                tail = read_whole(store, player).await?;
            }
        }
    }
    for event in &tail {
        let expected = fold.seq.next();
        if event.seq != expected {
            error!(%player, seq = %event.seq, %expected, "the player's stream has a gap");
            return Err(StreamFault::Gap { expected });
        }
        fold.apply(event);
    }
    Ok(fold)
}

async fn read_whole(store: &dyn Store, player: PlayerId) -> Result<Vec<PlayerEvent>, StoreError> {
    let mut events: Vec<PlayerEvent> = Vec::new();
    loop {
        let after = events.last().map_or(Seq::ZERO, |event| event.seq);
        let page = store.stream_events(player, after, PAGE_EVENTS).await?;
        if page.is_empty() {
            return Ok(events);
        }
        events.extend(page);
    }
}
