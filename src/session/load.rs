//! Rebuilds a raid from the store: the newest snapshot and every event after it.

use raidhall_protocol::{Event, RaidId, Seq};
use tracing::{error, warn};

use crate::raid::{self, State};
use crate::store::{self, LoadedRaid, Store};
use crate::telemetry::metrics;

/// Events per page when the whole ledger is read because the snapshot is damaged.
const PAGE_EVENTS: u32 = 1_000;

/// A raid's state, folded from what the store holds, beside the loaded rows.
pub(super) struct FoldedRaid {
    pub(super) state: State,
    pub(super) loaded: LoadedRaid,
}

/// Reason why a raid could not be rebuilt.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Store(store::StoreError),
    #[error("the store did not answer in time")]
    Timeout,
    #[error("the raid was written by a newer release, in a form of version {version}")]
    NewerVersion { version: u16 },
    #[error("the ledger of raid {raid} ends at {found} instead of {expected}")]
    LedgerGap {
        raid: RaidId,
        found: Seq,
        expected: Seq,
    },
    #[error(
        "the database holds raid {raid} up to event {found}, but events up to {expected} were committed"
    )]
    HistoryLost {
        raid: RaidId,
        found: Seq,
        expected: Seq,
    },
}

impl From<store::StoreError> for LoadError {
    fn from(error: store::StoreError) -> Self {
        match error {
            store::StoreError::NewerVersion { version } => Self::NewerVersion { version },
            error => Self::Store(error),
        }
    }
}

/// Folds a raid that `loading` reads from the store. Returns `None` if the raid does not exist.
/// Fails if the store lacks events up to `known`, which were committed before this call.
pub(super) async fn load_raid(
    store: &dyn Store,
    raid: RaidId,
    loading: impl Future<Output = store::Result<Option<LoadedRaid>>>,
    known: Seq,
) -> Result<Option<FoldedRaid>, LoadError> {
    let Some(mut loaded) = loading.await? else {
        check_history(raid, Seq::ZERO, known)?;
        return Ok(None);
    };
    let mut state = match &loaded.snapshot {
        None => State::new(raid),
        Some((seq, bytes)) => match raid::stored::decode(bytes) {
            Ok(state) => state,
            Err(raid::stored::StoredError::Newer(version)) => {
                return Err(LoadError::NewerVersion { version });
            }
            Err(error) => {
                warn!(%raid, %seq, error = %error, "snapshot is damaged; rebuilding the raid from its ledger");
                loaded.tail = read_ledger(store, raid).await?;
                State::new(raid)
            }
        },
    };
    let next = |state: &State, event: &Event| event.seq == state.seq().next();
    for event in &loaded.tail {
        if !next(&state, event) {
            break;
        }
        raid::apply(&mut state, event);
    }
    let found = state.seq();
    let expected = loaded.head.last_seq;
    if found < expected {
        return Err(LoadError::LedgerGap {
            raid,
            found,
            expected,
        });
    }
    check_history(raid, found, known)?;
    Ok(Some(FoldedRaid { state, loaded }))
}

/// Fails if the store holds a raid only up to `found` although events up to `expected` were
/// committed.
pub(super) fn check_history(raid: RaidId, found: Seq, expected: Seq) -> Result<(), LoadError> {
    if found >= expected {
        return Ok(());
    }
    metrics().history_lost.increment(1);
    error!(
        %raid,
        %found,
        %expected,
        "the database has lost committed events, so the raid is unavailable; if a lagging replica was promoted, run `raidhall new-lineage --force` (docs/BACKUP.md)"
    );
    Err(LoadError::HistoryLost {
        raid,
        found,
        expected,
    })
}

async fn read_ledger(store: &dyn Store, raid: RaidId) -> store::Result<Vec<Event>> {
    let mut events = Vec::new();
    loop {
        let after = events.last().map_or(Seq::ZERO, |event: &Event| event.seq);
        let page = store.events(raid, after, PAGE_EVENTS).await?;
        if page.is_empty() {
            return Ok(events);
        }
        events.extend(page);
    }
}
