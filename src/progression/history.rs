//! The definitions that were in force, one after another.

use std::sync::Arc;

use crate::definitions::Definitions;

/// Number of definitions: 1 for the first ones of a database, and one more with each change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DefinitionsNumber(pub u32);

impl DefinitionsNumber {
    /// The number of the first definitions.
    pub const FIRST: DefinitionsNumber = DefinitionsNumber(1);

    /// Returns the number of the definitions that come into force after these.
    #[must_use]
    pub const fn next(self) -> DefinitionsNumber {
        DefinitionsNumber(self.0 + 1)
    }
}

impl Default for DefinitionsNumber {
    fn default() -> Self {
        DefinitionsNumber::FIRST
    }
}

/// All definitions of a database up to a number.
#[derive(Debug, Clone)]
pub struct DefinitionsHistory {
    first: Arc<Definitions>,
    later: Vec<Arc<Definitions>>,
}

impl DefinitionsHistory {
    /// Begins with the first definitions.
    pub fn new(first: Definitions) -> DefinitionsHistory {
        DefinitionsHistory {
            first: Arc::new(first),
            later: Vec::new(),
        }
    }

    /// Adds the definitions that came into force after the newest ones.
    pub fn push(&mut self, next: Definitions) {
        self.later.push(Arc::new(next));
    }

    /// Returns the definitions of a number; the newest ones if it is above theirs.
    pub fn in_force_at(&self, number: DefinitionsNumber) -> &Arc<Definitions> {
        match (number.0 as usize).checked_sub(2) {
            Some(index) => self.later.get(index).unwrap_or_else(|| self.newest()),
            None => &self.first,
        }
    }

    /// Returns the definitions in force for what happens now.
    pub fn newest(&self) -> &Arc<Definitions> {
        self.later.last().unwrap_or(&self.first)
    }

    /// Returns the number of the newest definitions.
    pub fn newest_number(&self) -> DefinitionsNumber {
        DefinitionsNumber(self.later.len() as u32 + 1)
    }
}
