//! Decoding of untrusted bytes into typed messages, in two stages.
//!
//! The first stage checks only that the frame is exactly one map with a string `t`; any other frame
//! is undecodable and the server closes the connection. The second stage reads the fields; every
//! fault there becomes part of an error reply that names each faulty field. The same holds for
//! values that are not plain data (binary data, NaN, half a surrogate pair, nesting deeper than
//! [`DEPTH_MAX`]): they are faults of the field that holds them, and are
//! ignored in a field that is not read.
//!
//! Memory is bounded by a constant times the frame's length, and the stack by that depth, whatever
//! lengths a frame declares.

mod json;
mod msgpack;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::client::{ClientMessage, Topic};
use crate::codec::Codec;
use crate::error::FieldFault;
use crate::fields::{Fields, Foreign, natural};
use crate::ids::RaidId;
use crate::limits::DEPTH_MAX;

/// Reason why a frame is not a valid message.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The frame is not exactly one map with a string `t`. The connection is closed.
    #[error("undecodable frame: {0}")]
    Undecodable(String),
    /// The message has faulty fields. It is answered with an error, and the connection stays open.
    #[error("invalid {}", .0.re)]
    Invalid(InvalidMessage),
}

/// A message with a valid `t` and faulty fields.
#[derive(Debug, Clone, PartialEq)]
pub struct InvalidMessage {
    /// The message's `t`, cut to 64 characters.
    pub re: String,
    /// Correlation number of the message, if it could be read.
    pub id: Option<u64>,
    /// What the message concerns, if it could be read.
    pub topic: Option<Topic>,
    /// Every fault that was found.
    pub fields: Vec<FieldFault>,
}

/// Decodes one frame from a client.
pub fn decode(codec: Codec, frame: &[u8]) -> Result<ClientMessage, DecodeError> {
    let parsed = match codec {
        Codec::Json => json::parse(frame),
        Codec::MessagePack => msgpack::parse(frame),
    };
    let Parsed { value, foreign } = parsed.map_err(DecodeError::Undecodable)?;
    let Value::Object(map) = value else {
        return Err(DecodeError::Undecodable("no map".to_owned()));
    };
    let Some(Value::String(t)) = map.get("t") else {
        return Err(DecodeError::Undecodable("no string `t`".to_owned()));
    };
    ClientMessage::read_fields(t, Fields::with_foreign(&map, foreign.as_ref())).map_err(|fields| {
        let number = |field| map.get(field).and_then(natural);
        let re = t.chars().take(64).collect();
        let id = number("id");
        let raid = number("raid").and_then(|raid| RaidId::try_from(raid).ok());
        let me = map.get("player").filter(|player| *player == "me");
        let topic = raid.map(Topic::Raid).or(me.map(|_| Topic::Me));
        DecodeError::Invalid(InvalidMessage {
            re,
            id,
            topic,
            fields,
        })
    })
}

/// Error for bytes that are not exactly one value of the codec.
struct Broken;

/// A value with null in place of everything that JSON cannot represent, and where that was.
struct Parsed {
    value: Value,
    foreign: Option<Foreign>,
}

const TOO_DEEP: &str = "must not nest that deep";
const NOT_FINITE: &str = "must be a finite number";
const NOT_UNICODE: &str = "must be valid Unicode";
const NOT_TEXT_KEYS: &str = "must not hold a map with keys that are not texts";

impl Parsed {
    const fn foreign(reason: &'static str) -> Parsed {
        Parsed {
            value: Value::Null,
            foreign: Some(Foreign::Whole(reason)),
        }
    }

    /// Collects a list. One foreign item makes the list foreign as a whole.
    fn list(items: impl IntoIterator<Item = Result<Parsed, Broken>>) -> Result<Parsed, Broken> {
        let mut values = Vec::new();
        let mut foreign = None;
        for item in items {
            let item = item?;
            foreign = foreign.or(item.foreign.map(|foreign| foreign.reason()));
            if foreign.is_none() {
                values.push(item.value);
            }
        }
        Ok(match foreign {
            Some(reason) => Parsed::foreign(reason),
            None => Value::Array(values).into(),
        })
    }
}

/// A map under construction. Of two entries with the same key the later one counts, as in every
/// common JSON parser.
#[derive(Default)]
struct Entries {
    values: Map<String, Value>,
    foreign: BTreeMap<String, Foreign>,
    has_foreign_key: bool,
}

impl Entries {
    /// Inserts an entry. A key that is not text can only belong to an unknown field, except in data
    /// that is passed on as a whole.
    fn insert(&mut self, key: Option<String>, entry: Parsed) {
        let Some(key) = key else {
            self.has_foreign_key = true;
            return;
        };
        let Parsed { value, foreign } = entry;
        match foreign {
            Some(foreign) => self.foreign.insert(key.clone(), foreign),
            None => self.foreign.remove(&key),
        };
        self.values.insert(key, value);
    }

    /// Returns the map, in which values may nest `depth` levels deep. Only the fields of a message
    /// and of its command are read one by one; a deeper map with a foreign entry is foreign as a
    /// whole.
    fn finish(mut self, depth: usize) -> Parsed {
        if self.has_foreign_key {
            let foreign = Foreign::Whole(NOT_TEXT_KEYS);
            self.foreign.insert(String::new(), foreign);
        }
        if depth >= DEPTH_MAX - 2 {
            let foreign = (!self.foreign.is_empty()).then_some(Foreign::Within(self.foreign));
            return Parsed {
                value: Value::Object(self.values),
                foreign,
            };
        }
        match self.foreign.values().next() {
            Some(foreign) => Parsed::foreign(foreign.reason()),
            None => Value::Object(self.values).into(),
        }
    }
}

impl From<Value> for Parsed {
    fn from(value: Value) -> Self {
        Parsed {
            value,
            foreign: None,
        }
    }
}
