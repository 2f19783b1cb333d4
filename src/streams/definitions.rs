//! The definitions of progression, as far as this instance has read them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::definitions::Definitions;
use crate::progression::{DefinitionsHistory, DefinitionsNumber};
use crate::store::{Result, Store, StoreError, StoredDefinitions};

/// How old the newest definitions may be that a command uses.
const AGE_MAX: Duration = Duration::from_secs(5);

/// The definitions of the database. They are read when they are needed, and then kept. Cheap to
/// clone.
#[derive(Clone)]
pub struct CurrentDefinitions(Arc<CurrentDefinitionsInner>);

struct CurrentDefinitionsInner {
    store: Arc<dyn Store>,
    read: Mutex<Option<ReadDefinitions>>,
}

/// What was read, and when something newer was looked for.
#[derive(Clone)]
struct ReadDefinitions {
    history: Arc<DefinitionsHistory>,
    read_at: Instant,
}

impl CurrentDefinitions {
    /// Creates a reader that has read nothing yet.
    pub fn new(store: Arc<dyn Store>) -> CurrentDefinitions {
        CurrentDefinitions(Arc::new(CurrentDefinitionsInner {
            store,
            read: Mutex::default(),
        }))
    }

    /// Returns the definitions up to a number that an event carries. Reads the store if that number
    /// is new to this instance.
    ///
    /// # Errors
    ///
    /// Fails if the store does, and with [`StoreError::NewerDefinitions`] if only a newer release can
    /// read the definitions.
    pub async fn up_to(&self, number: DefinitionsNumber) -> Result<Arc<DefinitionsHistory>> {
        let known = self.known();
        if let Some(known) = known.filter(|known| known.history.newest_number() >= number) {
            return Ok(known.history);
        }
        let history = self.read().await?;
        if history.newest_number() < number {
            return Err(StoreError::Refused {
                operation: "read definitions",
                source: anyhow!("the database lacks the definitions {}", number.0),
            });
        }
        Ok(history)
    }

    /// Returns the definitions in force now, or those that were a few seconds ago.
    ///
    /// # Errors
    ///
    /// Fails as [`CurrentDefinitions::up_to`] does.
    pub async fn newest(&self) -> Result<Arc<Definitions>> {
        let known = self.known();
        let history = match known.filter(|known| known.read_at.elapsed() < AGE_MAX) {
            Some(known) => known.history,
            None => self.read().await?,
        };
        Ok(Arc::clone(history.newest()))
    }

    /// Returns all definitions that are in the store now. Until a server has used the database there
    /// are none, and the built-in ones stand for them.
    ///
    /// # Errors
    ///
    /// Fails as [`CurrentDefinitions::up_to`] does.
    pub async fn read(&self) -> Result<Arc<DefinitionsHistory>> {
        let read_at = Instant::now();
        let known = self.known().map(|known| known.history);
        let after = known.as_ref().map(|known| known.newest_number());
        let rows = self.0.store.definitions_after(after).await?;
        let Some(history) = extend(known, &rows)? else {
            return Ok(Arc::new(DefinitionsHistory::new(Definitions::built_in())));
        };
        // Of several reads at once, the one that found most is kept.
        let mut read = self.0.read.lock();
        let is_newest =
            |read: &ReadDefinitions| read.history.newest_number() <= history.newest_number();
        if read.as_ref().is_none_or(is_newest) {
            let history = Arc::clone(&history);
            *read = Some(ReadDefinitions { history, read_at });
        }
        Ok(history)
    }

    fn known(&self) -> Option<ReadDefinitions> {
        self.0.read.lock().clone()
    }
}

/// Adds definitions to those that are known; `None` if there are none of both.
fn extend(
    known: Option<Arc<DefinitionsHistory>>,
    rows: &[StoredDefinitions],
) -> Result<Option<Arc<DefinitionsHistory>>> {
    let mut history = known;
    for row in rows {
        let definitions = parse(row)?;
        match &mut history {
            Some(history) => Arc::make_mut(history).push(definitions),
            None => history = Some(Arc::new(DefinitionsHistory::new(definitions))),
        }
    }
    Ok(history)
}

fn parse(stored: &StoredDefinitions) -> Result<Definitions> {
    Definitions::parse(&stored.body).map_err(|faults| StoreError::NewerDefinitions {
        number: stored.number,
        fault: faults.into_iter().next().unwrap_or_default(),
    })
}
