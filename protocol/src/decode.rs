//! From hostile bytes to a typed message, in two stages.
//!
//! The first asks only whether the frame is exactly one map with a string `t`; if not, the frame is undecodable and
//! the socket ends. The second reads the fields; whatever is wrong there is an answer that names each faulty field.
//! That goes for values that are no plain data too (binary data, NaN, half a surrogate pair, nesting deeper than
//! [`DEPTH_MAX`](crate::limits::DEPTH_MAX)): they are faults of the field that holds them, and none in a field that
//! nobody reads.
//!
//! Memory stays within the frame's length times a constant, the stack within that depth, whatever lengths a frame
//! declares.

mod json;
mod msgpack;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::client::ClientMessage;
use crate::codec::Codec;
use crate::error::FieldFault;
use crate::fields::{Fields, Foreign, natural};
use crate::ids::RaidId;

/// Why a frame is no message.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Not exactly one map with a string `t`. Ends the socket.
    #[error("undecodable frame: {0}")]
    Undecodable(String),
    /// A message with faults in it. An answer.
    #[error("invalid {}", .0.re)]
    Invalid(InvalidMessage),
}

/// A message whose envelope is good and whose fields are not.
#[derive(Debug, Clone, PartialEq)]
pub struct InvalidMessage {
    /// Its `t`, cut to 64 characters.
    pub re: String,
    /// Its correlation number, if that could be read.
    pub id: Option<u64>,
    /// Its raid, if that could be read.
    pub raid: Option<RaidId>,
    /// What is wrong with it.
    pub fields: Vec<FieldFault>,
}

/// Decodes what a client sent in one frame.
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
        let (re, id) = (t.chars().take(64).collect(), number("id"));
        let raid = number("raid").and_then(|raid| RaidId::try_from(raid).ok());
        DecodeError::Invalid(InvalidMessage {
            re,
            id,
            raid,
            fields,
        })
    })
}

/// A value, without what is foreign to JSON in it, and where that was.
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

    /// A list with anything foreign in it is foreign as a whole.
    fn list<E>(items: impl IntoIterator<Item = Result<Parsed, E>>) -> Result<Parsed, E> {
        let (mut values, mut foreign) = (Vec::new(), None);
        for item in items {
            let item = item?;
            values.push(item.value);
            foreign = foreign.or(item.foreign);
        }
        Ok(Parsed {
            value: Value::Array(values),
            foreign,
        })
    }
}

/// A map in the making. Of two entries with one key the later counts, as in every JSON parser at large.
#[derive(Default)]
struct Entries {
    values: Map<String, Value>,
    foreign: BTreeMap<String, Foreign>,
}

impl Entries {
    /// A key that is no text can only be an unknown field's, except in data that is passed on as a whole.
    fn insert(&mut self, key: Option<String>, entry: Parsed) {
        let (key, Parsed { value, foreign }) = match key {
            Some(key) => (key, entry),
            None => (String::new(), Parsed::foreign(NOT_TEXT_KEYS)),
        };
        match foreign {
            Some(foreign) => self.foreign.insert(key.clone(), foreign),
            None => self.foreign.remove(&key),
        };
        self.values.insert(key, value);
    }

    fn finish(self) -> Parsed {
        let foreign = (!self.foreign.is_empty()).then_some(Foreign::Within(self.foreign));
        Parsed {
            value: Value::Object(self.values),
            foreign,
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
