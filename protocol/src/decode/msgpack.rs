//! Parser for untrusted MessagePack, after
//! <https://github.com/msgpack/msgpack/blob/master/spec.md>. It reserves no memory for a declared
//! length and holds only what it has read.

use serde_json::{Number, Value};

use super::{Broken, Entries, NOT_FINITE, NOT_UNICODE, Parsed, TOO_DEEP};
use crate::limits::DEPTH_MAX;

/// Parses a frame. Fails if it is not exactly one MessagePack value.
pub(super) fn parse(frame: &[u8]) -> Result<Parsed, String> {
    let mut reader = MsgpackReader { rest: frame };
    match reader.value(DEPTH_MAX) {
        Ok(parsed) if reader.rest.is_empty() => Ok(parsed),
        Ok(_) => Err("bytes after the first value".to_owned()),
        Err(Broken) => Err("no MessagePack".to_owned()),
    }
}

/// Start of a value. The parts of a list or map follow it.
enum Head<'a> {
    Nil,
    Flag(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a [u8]),
    Binary,
    Extension,
    List(u64),
    Map(u64),
}

struct MsgpackReader<'a> {
    rest: &'a [u8],
}

impl<'a> MsgpackReader<'a> {
    /// Reads a value that may nest `depth` levels deep.
    fn value(&mut self, depth: usize) -> Result<Parsed, Broken> {
        let parsed = match self.head()? {
            Head::Nil => Value::Null.into(),
            Head::Flag(flag) => Value::Bool(flag).into(),
            Head::Unsigned(number) => Value::from(number).into(),
            Head::Signed(number) => Value::from(number).into(),
            Head::Float(number) => match Number::from_f64(number) {
                Some(number) => Value::Number(number).into(),
                None => Parsed::foreign(NOT_FINITE),
            },
            Head::Text(text) => match str::from_utf8(text) {
                Ok(text) => Value::from(text).into(),
                Err(_) => Parsed::foreign(NOT_UNICODE),
            },
            Head::Binary => Parsed::foreign("must not hold binary data"),
            Head::Extension => Parsed::foreign("must not hold a MessagePack extension"),
            Head::List(parts) if depth == 0 => self.skip(parts)?,
            Head::Map(entries) if depth == 0 => self.skip(entries * 2)?,
            Head::List(parts) => Parsed::list((0..parts).map(|_| self.value(depth - 1)))?,
            Head::Map(count) => {
                let mut entries = Entries::default();
                for _ in 0..count {
                    let key = match self.value(depth - 1)? {
                        Parsed {
                            value: Value::String(key),
                            ..
                        } => Some(key),
                        _ => None,
                    };
                    entries.insert(key, self.value(depth - 1)?);
                }
                entries.finish(depth - 1)
            }
        };
        Ok(parsed)
    }

    /// Skips values, however deep they nest.
    fn skip(&mut self, mut values: u64) -> Result<Parsed, Broken> {
        while values > 0 {
            values -= 1;
            // A head takes at least one byte, so this adds at most 2^33 times the frame's length.
            values += match self.head()? {
                Head::List(parts) => parts,
                Head::Map(entries) => entries * 2,
                _ => 0,
            };
        }
        Ok(Parsed::foreign(TOO_DEEP))
    }

    fn head(&mut self) -> Result<Head<'a>, Broken> {
        let [marker] = self.array()?;
        Ok(match marker {
            0x00..=0x7f => Head::Unsigned(u64::from(marker)),
            0x80..=0x8f => Head::Map(u64::from(marker & 0x0f)),
            0x90..=0x9f => Head::List(u64::from(marker & 0x0f)),
            0xa0..=0xbf => Head::Text(self.bytes(u64::from(marker & 0x1f))?),
            0xc0 => Head::Nil,
            0xc1 => return Err(Broken),
            0xc2 | 0xc3 => Head::Flag(marker == 0xc3),
            0xc4..=0xc6 => {
                self.sized(1 << (marker - 0xc4))?;
                Head::Binary
            }
            0xc7..=0xc9 => {
                let length = self.unsigned(1 << (marker - 0xc7))?;
                self.bytes(length + 1)?; // the extension's type is a byte
                Head::Extension
            }
            0xca => Head::Float(f64::from(f32::from_be_bytes(self.array()?))),
            0xcb => Head::Float(f64::from_be_bytes(self.array()?)),
            0xcc..=0xcf => Head::Unsigned(self.unsigned(1 << (marker - 0xcc))?),
            0xd0 => Head::Signed(i64::from(i8::from_be_bytes(self.array()?))),
            0xd1 => Head::Signed(i64::from(i16::from_be_bytes(self.array()?))),
            0xd2 => Head::Signed(i64::from(i32::from_be_bytes(self.array()?))),
            0xd3 => Head::Signed(i64::from_be_bytes(self.array()?)),
            0xd4..=0xd8 => {
                self.bytes((1 << (marker - 0xd4)) + 1)?;
                Head::Extension
            }
            0xd9..=0xdb => Head::Text(self.sized(1 << (marker - 0xd9))?),
            0xdc | 0xdd => Head::List(self.unsigned(2 << (marker - 0xdc))?),
            0xde | 0xdf => Head::Map(self.unsigned(2 << (marker - 0xde))?),
            0xe0..=0xff => Head::Signed(i64::from(marker.cast_signed())),
        })
    }

    /// Reads bytes whose number is written before them, in `width` bytes.
    fn sized(&mut self, width: u64) -> Result<&'a [u8], Broken> {
        let length = self.unsigned(width)?;
        self.bytes(length)
    }

    fn unsigned(&mut self, width: u64) -> Result<u64, Broken> {
        Ok(self
            .bytes(width)?
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Broken)?;
        self.rest = rest;
        Ok(*array)
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8], Broken> {
        let length = usize::try_from(length).map_err(|_| Broken)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Broken)?;
        self.rest = rest;
        Ok(bytes)
    }
}
