//! The stored form of a player's fold.

use super::fold::PlayerFold;

/// Version of the stored form that this build writes.
const VERSION: u16 = 1;

/// Reason why stored bytes cannot be decoded as a fold.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// A newer release wrote the state, in this version.
    #[error("player state version {0} is newer than this release")]
    Newer(u16),
    /// The bytes are damaged.
    #[error("decode a player's state: {0}")]
    Damaged(#[from] rmp_serde::decode::Error),
}

impl PlayerFold {
    /// Encodes the fold: a version in two bytes, then MessagePack. Equal folds give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_be_bytes().to_vec();
        rmp_serde::encode::write_named(&mut bytes, self).expect("a fold has no unsized parts");
        bytes
    }

    /// Decodes a fold written by this or an earlier release.
    pub fn decode(bytes: &[u8]) -> Result<PlayerFold, FoldError> {
        let damaged = |why: &str| rmp_serde::decode::Error::Syntax(why.to_owned());
        let (version, body) = bytes
            .split_first_chunk()
            .ok_or_else(|| damaged("no version"))?;
        match u16::from_be_bytes(*version) {
            0 => Err(damaged("version 0").into()),
            VERSION => Ok(rmp_serde::from_slice(body)?),
            newer => Err(FoldError::Newer(newer)),
        }
    }
}
