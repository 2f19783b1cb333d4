//! The form in which a state is kept in a snapshot: the version in two bytes, then MessagePack.
//!
//! The form is its own and not the wire's, so that neither holds the other back. Its structs are written as arrays:
//! any change to a field is a new version, and [`decode`] keeps reading the ones before.

mod v1;

use serde::Deserialize;

use super::State;

/// The version that this build writes.
const VERSION: u16 = 1;

/// Why stored bytes are no state.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// Written by a newer release.
    #[error("state version {0} is newer than this release")]
    Newer(u16),
    /// Damaged.
    #[error("decode state: {0}")]
    Damaged(#[from] rmp_serde::decode::Error),
}

/// Encodes a state. Equal states give equal bytes.
pub fn encode(state: &State) -> Vec<u8> {
    let mut bytes = VERSION.to_be_bytes().to_vec();
    rmp_serde::encode::write(&mut bytes, &v1::Stored::from(state))
        .expect("a state has no unsized parts");
    bytes
}

/// Decodes a state.
pub fn decode(bytes: &[u8]) -> Result<State, StoredError> {
    let (version, body) = bytes
        .split_first_chunk()
        .ok_or_else(|| damaged("no version"))?;
    match u16::from_be_bytes(*version) {
        0 => Err(damaged("version 0")),
        VERSION => {
            let mut deserializer = rmp_serde::Deserializer::new(body);
            let stored = v1::Stored::deserialize(&mut deserializer)?;
            if deserializer.into_inner().is_empty() {
                Ok(stored.into())
            } else {
                Err(damaged("bytes after it"))
            }
        }
        newer => Err(StoredError::Newer(newer)),
    }
}

fn damaged(why: &str) -> StoredError {
    StoredError::Damaged(rmp_serde::decode::Error::Syntax(why.to_owned()))
}
