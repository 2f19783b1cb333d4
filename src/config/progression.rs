//! The file with the definitions of progression.

use std::path::PathBuf;

use serde::Deserialize;

use super::bus::optional_path;
use super::fault::{ConfigErrors, ValueSource};
use crate::definitions::{BUILT_IN, Definitions};

/// The source of the definitions of progression.
#[derive(Debug, Clone, Deserialize)]
pub struct ProgressionConfig {
    /// A file with definitions; without it, the built-in ones are used.
    #[serde(deserialize_with = "optional_path")]
    pub file: Option<PathBuf>,
}

impl ProgressionConfig {
    /// Reads and checks the definitions, and returns their text.
    ///
    /// # Errors
    ///
    /// Returns all faults at once.
    pub fn read_definitions(&self) -> Result<String, Vec<String>> {
        let Some(path) = &self.file else {
            return Ok(BUILT_IN.to_owned());
        };
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| vec![format!("cannot be read: {error}")])?;
        Definitions::parse(&text)?;
        Ok(text)
    }

    /// Adds every fault of the file.
    pub(super) fn check(&self, faults: &mut ConfigErrors) {
        let found = self.read_definitions().err().unwrap_or_default();
        let path = self.file.clone().unwrap_or_default();
        for fault in found {
            faults.push("progression.file", ValueSource::File(path.clone()), fault);
        }
    }
}
