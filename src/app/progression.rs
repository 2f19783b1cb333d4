//! The definitions of progression: what a start does with the configured ones, and the commands
//! `progression apply` and `progression show`.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use tracing::{info, warn};

use super::{StartError, open};
use crate::config::Config;
use crate::definitions::Definitions;
use crate::progression::DefinitionsNumber;
use crate::store::{ApplyOutcome, Store, StoredDefinitions};

/// Stores the configured definitions if the database has none, and reports if it has others.
pub(super) async fn adopt_definitions(
    store: &dyn Store,
    config: &Config,
) -> Result<(), StartError> {
    let from_store = |error| StartError::from_store(open::database(config), error);
    let configured = configured_definitions(config)?;
    let added = store.add_definitions(DefinitionsNumber::FIRST, &configured);
    if added.await.map_err(from_store)? {
        return Ok(());
    }
    let stored = store.newest_definitions().await.map_err(from_store)?;
    if stored.is_none_or(|stored| stored.body == configured) {
        return Ok(());
    }
    match &config.progression.file {
        Some(file) => warn!(
            file = %file.display(),
            "progression.file differs from the definitions in the database, which are used; `raidhall progression apply FILE` changes them"
        ),
        None => info!(
            "the built-in definitions of progression differ from those in the database, which are used; `raidhall progression apply FILE` changes them"
        ),
    }
    Ok(())
}

/// Brings the definitions of a file into force for what happens from now on, or only checks them.
/// Returns what happened, as a sentence. A server may be running.
///
/// # Errors
///
/// See [`StartError`]; [`StartError::Definitions`] with all faults of the file, also if a
/// leaderboard has other windows than before.
pub async fn apply_definitions(
    config: &Config,
    file: &Path,
    is_check: bool,
) -> Result<String, StartError> {
    let name = file.display();
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| StartError::unavailable(name.to_string(), error))?;
    let faulty = |faults: Vec<String>| StartError::Definitions {
        file: name.to_string(),
        faults: faults.join("\n  "),
    };
    let definitions = Definitions::parse(&text).map_err(faulty)?;
    if is_check {
        return Ok(format!(
            "The definitions of {name} are valid; nothing was changed."
        ));
    }
    let store = open::current_store(config).await?;
    let from_store = |error| StartError::from_store(open::database(config), error);
    let stored = store.definitions_after(None).await.map_err(from_store)?;
    let faults = faults_behind(&stored, &definitions);
    if !faults.is_empty() {
        return Err(faulty(faults));
    }
    let applied = store.apply_definitions(&text).await;
    let applied = applied.map_err(from_store)?;
    Ok(match applied {
        ApplyOutcome::Applied(DefinitionsNumber(number)) => format!(
            "The definitions of {name} are in force for what happens from now on, as number {number}."
        ),
        ApplyOutcome::Unchanged => {
            format!("The definitions of {name} are in force already; nothing was changed.")
        }
    })
}

/// Returns the faults that earlier definitions cause, each once. What this release cannot read makes
/// none.
fn faults_behind(stored: &[StoredDefinitions], definitions: &Definitions) -> Vec<String> {
    let mut faults = Vec::new();
    for earlier in stored {
        if let Ok(earlier) = Definitions::parse(&earlier.body) {
            faults.extend(definitions.faults_behind(&earlier));
        }
    }
    let mut seen = HashSet::new();
    faults.retain(|fault| seen.insert(fault.clone()));
    faults
}

/// Returns the text of the definitions in force. If the database has none yet, it is the text that
/// the next start will store.
///
/// # Errors
///
/// See [`StartError`].
pub async fn show_definitions(config: &Config) -> Result<String, StartError> {
    let stored = open::current_store(config)
        .await?
        .newest_definitions()
        .await;
    let stored = stored.map_err(|error| StartError::from_store(open::database(config), error))?;
    match stored {
        Some(stored) => Ok(stored.body),
        None => configured_definitions(config),
    }
}

fn configured_definitions(config: &Config) -> Result<String, StartError> {
    let read = config.progression.read_definitions();
    read.map_err(|faults| StartError::Argument(format!("progression.file: {}", faults.join("; "))))
}
