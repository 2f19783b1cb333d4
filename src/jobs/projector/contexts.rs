//! What must be known of a raid beside its event, to find what the event means for players.

use std::collections::HashMap;
use std::sync::Arc;

use raidhall_protocol::{EventData, RaidId, Seq};

use crate::progression::RaidContext;
use crate::session::stored_members;
use crate::store::{CommittedEvent, Result, Store};

/// Maximum number of raids of which it is kept whether they are ranked.
const RAIDS_KEPT_MAX: usize = 10_000;

/// Finds the contexts of raids' events in the store.
pub struct RaidContexts {
    store: Arc<dyn Store>,
    /// Whether raids are ranked, as far as it was read lately.
    ranked: HashMap<RaidId, bool>,
}

impl RaidContexts {
    /// Creates a finder that knows no raid.
    pub fn new(store: Arc<dyn Store>) -> RaidContexts {
        RaidContexts {
            store,
            ranked: HashMap::new(),
        }
    }

    /// Returns the context of a raid's event; `None` if the store lacks events of the raid.
    ///
    /// # Errors
    ///
    /// Fails if the store does.
    pub async fn find(&mut self, committed: &CommittedEvent) -> Result<Option<RaidContext>> {
        let raid = committed.raid;
        let mut context = RaidContext {
            definitions: committed.definitions,
            ..RaidContext::default()
        };
        match committed.event.data {
            EventData::RaidCreated { ranked, .. } => self.keep(raid, ranked),
            EventData::TaskCompleted { .. } => context.is_ranked = self.is_ranked(raid).await?,
            EventData::RaidFailed { .. } => match stored_members(&*self.store, raid).await? {
                Some(members) => context.last_members = members,
                None => return Ok(None),
            },
            _ => {}
        }
        Ok(Some(context))
    }

    async fn is_ranked(&mut self, raid: RaidId) -> Result<bool> {
        if let Some(is_ranked) = self.ranked.get(&raid) {
            return Ok(*is_ranked);
        }
        let first = self.store.events(raid, Seq::ZERO, 1).await?;
        let is_ranked = first
            .first()
            .is_some_and(|event| matches!(event.data, EventData::RaidCreated { ranked: true, .. }));
        self.keep(raid, is_ranked);
        Ok(is_ranked)
    }

    /// Keeps whether a raid is ranked. If it has become too much, the rest is forgotten and read
    /// again.
    fn keep(&mut self, raid: RaidId, is_ranked: bool) {
        if self.ranked.len() >= RAIDS_KEPT_MAX {
            self.ranked.clear();
        }
        self.ranked.insert(raid, is_ranked);
    }
}
