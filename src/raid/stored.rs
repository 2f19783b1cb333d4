//! The stored form of a state, used in snapshots: a version in two bytes, then MessagePack.
//!
//! It is separate from the wire format, so that each can change without the other. Structs are
//! written as arrays: any change to a field is a new version, and [`decode`] keeps reading the
//! earlier ones.

mod v1;
mod v2;

use serde::Deserialize;

use super::State;

/// Version of the stored form that this build writes.
const VERSION: u16 = 2;

/// Reason why stored bytes cannot be decoded as a state.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// A newer release wrote the state, in this version.
    #[error("state version {0} is newer than this release")]
    Newer(u16),
    /// The bytes are damaged.
    #[error("decode state: {0}")]
    Damaged(#[from] rmp_serde::decode::Error),
}

/// Encodes a state. Equal states give equal bytes.
pub fn encode(state: &State) -> Vec<u8> {
    let mut bytes = VERSION.to_be_bytes().to_vec();
    let stored = (v1::Stored::from(state), v2::Additions::from(state));
    rmp_serde::encode::write(&mut bytes, &stored).expect("a state has no unsized parts");
    bytes
}

/// Decodes a state written by this or an earlier release.
pub fn decode(bytes: &[u8]) -> Result<State, StoredError> {
    let (version, body) = bytes
        .split_first_chunk()
        .ok_or_else(|| damaged("no version"))?;
    match u16::from_be_bytes(*version) {
        0 => Err(damaged("version 0")),
        1 => Ok(decode_body::<v1::Stored<'_>>(body)?.into()),
        VERSION => {
            let (v1, additions) = decode_body::<(v1::Stored<'_>, v2::Additions)>(body)?;
            Ok(additions.add_to(v1.into()))
        }
        newer => Err(StoredError::Newer(newer)),
    }
}

fn decode_body<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, StoredError> {
    let mut deserializer = rmp_serde::Deserializer::new(body);
    let stored = T::deserialize(&mut deserializer)?;
    if deserializer.into_inner().is_empty() {
        Ok(stored)
    } else {
        Err(damaged("bytes after it"))
    }
}

fn damaged(why: &str) -> StoredError {
    StoredError::Damaged(rmp_serde::decode::Error::Syntax(why.to_owned()))
}
