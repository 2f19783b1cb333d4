//! The two codecs: JSON in text frames and MessagePack in binary frames, with the same maps and
//! keys.

use serde::{Serialize, de::DeserializeOwned};

use crate::limits::{SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK};

/// Encoding of the messages on a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// JSON text frames, for any plain WebSocket tool.
    Json,
    /// MessagePack binary frames, for all other clients.
    MessagePack,
}

/// Decoding error in a message from a peer that is trusted to keep the contract.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes are not the expected JSON.
    #[error("decode json: {0}")]
    Json(#[from] serde_json::Error),
    /// The bytes are not the expected MessagePack.
    #[error("decode msgpack: {0}")]
    MessagePack(#[from] rmp_serde::decode::Error),
}

impl Codec {
    /// Every codec of the contract.
    pub const ALL: [Codec; 2] = [Codec::Json, Codec::MessagePack];

    /// Returns the WebSocket subprotocol that selects this codec.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => SUBPROTOCOL_JSON,
            Self::MessagePack => SUBPROTOCOL_MSGPACK,
        }
    }

    /// Returns the codec that a WebSocket subprotocol selects, or `None` if there is none.
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

    /// Decodes a message from a peer that keeps the contract, such as the server in a client.
    /// Untrusted bytes go through [`crate::decode`].
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
