//! The definitions of progression in the in-memory store.

use async_trait::async_trait;

use super::MemoryStore;
use super::tables::Tables;
use crate::progression::DefinitionsNumber;
use crate::store::*;

impl Tables {
    /// Returns the number of the newest definitions; the first one if there are none.
    pub(super) fn newest_definitions_number(&self) -> DefinitionsNumber {
        let newest = self.definitions.last();
        newest.map_or(DefinitionsNumber::FIRST, |newest| newest.number)
    }
}

#[async_trait]
impl ProgressionDefinitions for MemoryStore {
    async fn definitions_after(
        &self,
        after: Option<DefinitionsNumber>,
    ) -> Result<Vec<StoredDefinitions>> {
        let tables = self.0.lock();
        let is_after = |stored: &&StoredDefinitions| Some(stored.number) > after;
        Ok(tables
            .definitions
            .iter()
            .filter(is_after)
            .cloned()
            .collect())
    }

    async fn add_definitions(&self, number: DefinitionsNumber, body: &str) -> Result<bool> {
        let mut tables = self.0.lock();
        if tables.definitions.iter().any(|it| it.number == number) {
            return Ok(false);
        }
        let added = StoredDefinitions {
            number,
            body: body.to_owned(),
            applied_at: tables.now(),
        };
        tables.definitions.push(added);
        Ok(true)
    }
}
