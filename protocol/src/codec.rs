//! The two codecs: JSON in text frames, MessagePack in binary ones, the same maps with the same keys.

use serde::{Serialize, de::DeserializeOwned};

use crate::limits::{SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK};

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// JSON, for any plain WebSocket tool.
    Json,
    /// MessagePack, for everybody else.
    MessagePack,
}

/// Why a message of a peer we trust to keep the contract could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// From JSON.
    #[error("decode json: {0}")]
    Json(#[from] serde_json::Error),
    /// From MessagePack.
    #[error("decode msgpack: {0}")]
    MessagePack(#[from] rmp_serde::decode::Error),
}

impl Codec {
    /// Both.
    pub const ALL: [Codec; 2] = [Codec::Json, Codec::MessagePack];

    /// The WebSocket subprotocol that selects it.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => SUBPROTOCOL_JSON,
            Self::MessagePack => SUBPROTOCOL_MSGPACK,
        }
    }

    /// The codec that a subprotocol selects.
    pub fn from_subprotocol(name: &str) -> Option<Codec> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.subprotocol() == name)
    }

    /// Encodes a message of the contract.
    pub fn encode<T: Serialize>(self, message: &T) -> Vec<u8> {
        match self {
            Self::Json => serde_json::to_vec(message).expect("contract types have text keys only"),
            Self::MessagePack => {
                rmp_serde::to_vec_named(message).expect("contract types have no unsized parts")
            }
        }
    }

    /// Decodes a message of a peer that keeps the contract (a client reading the server). Hostile bytes go through
    /// [`crate::decode`].
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, CodecError> {
        Ok(match self {
            Self::Json => serde_json::from_slice(bytes)?,
            Self::MessagePack => {
                let mut deserializer = rmp_serde::Deserializer::new(bytes);
                let message = T::deserialize(&mut deserializer)?;
                if !deserializer.into_inner().is_empty() {
                    return Err(rmp_serde::decode::Error::Syntax(
                        "bytes after the message".to_owned(),
                    )
                    .into());
                }
                message
            }
        })
    }
}
