//! Parser for untrusted JSON. Each level is first split into raw pieces, so that a piece which is
//! valid by JSON's grammar but cannot be represented (`1e999`, half a surrogate pair) invalidates
//! only itself and not the frame.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

use super::{Entries, NOT_FINITE, NOT_UNICODE, Parsed, TOO_DEEP};
use crate::limits::DEPTH_MAX;

/// Parses a frame. Fails if it is not exactly one JSON value.
pub(super) fn parse(frame: &[u8]) -> Result<Parsed, String> {
    let raw: &RawValue = serde_json::from_slice(frame).map_err(|error| error.to_string())?;
    parse_raw(raw, DEPTH_MAX)
}

/// Parses a value that may nest `depth` levels deep. Its grammar has been checked.
fn parse_raw(raw: &RawValue, depth: usize) -> Result<Parsed, String> {
    let text = raw.get();
    let parsed = match text.as_bytes().first() {
        Some(b'{' | b'[') if depth == 0 => Parsed::foreign(TOO_DEEP),
        Some(b'{') => {
            let Pieces(pieces) = from_str(text)?;
            let mut entries = Entries::default();
            for (key, piece) in pieces {
                entries.insert(key, parse_raw(piece, depth - 1)?);
            }
            entries.finish()
        }
        Some(b'[') => {
            let pieces: Vec<&RawValue> = from_str(text)?;
            Parsed::list(pieces.into_iter().map(|piece| parse_raw(piece, depth - 1)))?
        }
        Some(b'"') => match serde_json::from_str::<String>(text) {
            Ok(text) => Value::String(text).into(),
            Err(_) => Parsed::foreign(NOT_UNICODE),
        },
        Some(b'-' | b'0'..=b'9') => match serde_json::from_str::<Number>(text) {
            Ok(number) => Value::Number(number).into(),
            Err(_) => Parsed::foreign(NOT_FINITE),
        },
        _ => from_str::<Value>(text)?.into(),
    };
    Ok(parsed)
}

fn from_str<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Raw entries of a map. A key that is not valid Unicode is `None`.
struct Pieces<'a>(Vec<(Option<String>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pieces<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PiecesVisitor)
    }
}

struct PiecesVisitor;

impl<'de> Visitor<'de> for PiecesVisitor {
    type Value = Pieces<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut pieces = Vec::new();
        while let Some((Key(key), piece)) = access.next_entry()? {
            pieces.push((key, piece));
        }
        Ok(Pieces(pieces))
    }
}

struct Key(Option<String>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Keys are read as bytes, because half a surrogate pair is not valid UTF-8.
        deserializer.deserialize_bytes(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(Key(Some(key.to_owned())))
    }

    fn visit_bytes<E>(self, key: &[u8]) -> Result<Key, E> {
        Ok(Key(str::from_utf8(key).ok().map(str::to_owned)))
    }
}
