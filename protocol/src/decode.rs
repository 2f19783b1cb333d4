//! From hostile bytes to a typed message, in two stages.
//!
//! The first asks only whether the frame is exactly one map with a string `t`; if not, the frame is undecodable and
//! the socket ends. The second reads the fields; whatever is wrong there is an answer that names each faulty field.
//! One pass over the bytes serves both, allocates no more than the frame is long times a constant, and nests no
//! deeper than [`DEPTH_MAX`].

use crate::client::ClientMessage;
use crate::codec::Codec;
use crate::error::FieldFault;
use crate::ids::RaidId;
use crate::limits::DEPTH_MAX;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

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
    let Envelope { t, mut map, foreign } = match codec {
        Codec::Json => serde_json::from_slice(frame).map_err(|e| DecodeError::Undecodable(e.to_string()))?,
        Codec::MessagePack => decode_msgpack(frame)?,
    };
    let read = if foreign.is_empty() { ClientMessage::read(&t, &map) } else { Err(foreign) };
    read.map_err(|fields| {
        let mut number = |field| map.remove(field).and_then(|value: Value| value.as_u64());
        let id = number("id");
        let raid = number("raid").and_then(|raid| RaidId::try_from(raid).ok());
        DecodeError::Invalid(InvalidMessage { re: t.chars().take(64).collect(), id, raid, fields })
    })
}

fn decode_msgpack(frame: &[u8]) -> Result<Envelope, DecodeError> {
    let mut deserializer = rmp_serde::Deserializer::new(frame);
    deserializer.set_max_depth(DEPTH_MAX);
    let envelope =
        Envelope::deserialize(&mut deserializer).map_err(|e| DecodeError::Undecodable(e.to_string()))?;
    let rest = deserializer.into_inner();
    if rest.is_empty() {
        Ok(envelope)
    } else {
        Err(DecodeError::Undecodable("bytes after the map".to_owned()))
    }
}

/// The first stage: one map with a string `t`, and the faults of values that JSON has no form for.
struct Envelope {
    t: String,
    map: Map<String, Value>,
    foreign: Vec<FieldFault>,
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with a string `t`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Envelope, A::Error> {
        let (mut map, mut foreign) = (Map::new(), Vec::new());
        while let Some((key, value)) = access.next_entry::<AnyValue, AnyValue>()? {
            // An unknown field is ignored, and a key that is no text can only be one.
            let Ok(Value::String(key)) = key.0 else { continue };
            match value.0 {
                Ok(value) => {
                    map.insert(key, value);
                }
                Err(reason) => foreign.push(FieldFault::new(key, reason)),
            }
        }
        match map.remove("t") {
            Some(Value::String(t)) => Ok(Envelope { t, map, foreign }),
            _ => Err(A::Error::custom("no string `t`")),
        }
    }
}

/// Any value of either codec: as JSON, or why it has no JSON form. Reading one never fails for what it holds.
struct AnyValue(Result<Value, &'static str>);

impl<'de> Deserialize<'de> for AnyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor).map(AnyValue)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Result<Value, &'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Ok(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Ok(Value::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Ok(Value::from(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Number::from_f64(value).map(Value::Number).ok_or("must be a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Ok(Value::from(value)))
    }

    fn visit_string<E>(self, value: String) -> Result<Self::Value, E> {
        Ok(Ok(Value::String(value)))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Self::Value, E> {
        Ok(Err("must not hold binary data or text that is not UTF-8"))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Ok(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Ok(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    /// A MessagePack extension.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(IgnoredAny)?;
        Ok(Err("must not hold a MessagePack extension"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut items = Ok(Vec::new());
        while let Some(AnyValue(item)) = access.next_element()? {
            match (&mut items, item) {
                (Ok(items), Ok(item)) => items.push(item),
                (Ok(_), Err(reason)) => items = Err(reason),
                (Err(_), _) => {}
            }
        }
        Ok(items.map(Value::Array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = Ok(Map::new());
        while let Some((AnyValue(key), AnyValue(value))) = access.next_entry()? {
            match (&mut map, key, value) {
                (Ok(map), Ok(Value::String(key)), Ok(value)) => {
                    map.insert(key, value);
                }
                (Ok(_), Ok(Value::String(_)), Err(reason)) => map = Err(reason),
                (Ok(_), _, _) => map = Err("must not hold a map with keys that are not texts"),
                (Err(_), _, _) => {}
            }
        }
        Ok(map.map(Value::Object))
    }
}
