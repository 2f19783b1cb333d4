//! The definitions of progression, which an operator changes.
//!
//! **Each event of the ledger carries the number of the definitions that were in force for it: the
//! newest ones that its commit saw.** So definitions are in the store before every event that
//! carries their number, and a reader of the event finds them. The number is of the event and not of
//! its place in the feed, because a backup and a restored database number commits anew.

use async_trait::async_trait;
use raidhall_protocol::UnixMillis;
use sha2::{Digest, Sha256};

use super::Result;
use crate::progression::DefinitionsNumber;

/// Definitions as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDefinitions {
    /// The number that events carry.
    pub number: DefinitionsNumber,
    /// The text that was applied, TOML.
    pub body: String,
    /// When they came into force, by the clock of the database.
    pub applied_at: UnixMillis,
}

/// Outcome of applying definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// They are in force for what is committed from now on, under this number.
    Applied(DefinitionsNumber),
    /// They were in force already.
    Unchanged,
}

/// The part of the store that has the definitions.
#[async_trait]
pub trait ProgressionDefinitions: Send + Sync + 'static {
    /// Returns the definitions behind a number, in the order of their numbers; all if `after` is
    /// `None`.
    async fn definitions_after(
        &self,
        after: Option<DefinitionsNumber>,
    ) -> Result<Vec<StoredDefinitions>>;

    /// Stores definitions under the number behind the newest one. Returns false if there are others
    /// of that number by now.
    async fn add_definitions(&self, number: DefinitionsNumber, body: &str) -> Result<bool>;

    /// Returns the definitions in force for what is committed now; `None` if there are none yet.
    async fn newest_definitions(&self) -> Result<Option<StoredDefinitions>> {
        Ok(self.definitions_after(None).await?.pop())
    }

    /// Stores definitions as the newest ones, unless the newest ones have the same text.
    async fn apply_definitions(&self, body: &str) -> Result<ApplyOutcome> {
        loop {
            let newest = self.newest_definitions().await?;
            if newest.as_ref().is_some_and(|newest| newest.body == body) {
                return Ok(ApplyOutcome::Unchanged);
            }
            let number = newest.map_or(DefinitionsNumber::FIRST, |newest| newest.number.next());
            if self.add_definitions(number, body).await? {
                return Ok(ApplyOutcome::Applied(number));
            }
        }
    }
}

/// Returns the SHA-256 of a text.
pub fn hash(body: &str) -> Vec<u8> {
    Sha256::digest(body).to_vec()
}
