//! Parser for untrusted JSON, in one pass that counts the depth. A text or a number which is valid
//! by JSON's grammar but cannot be represented (`1e999`, half a surrogate pair) invalidates only
//! itself and not the frame.

use std::iter;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Deserializer, Number, Value};

use super::{Broken, Entries, NOT_FINITE, NOT_UNICODE, Parsed, TOO_DEEP};
use crate::limits::DEPTH_MAX;

/// Parses a frame. Fails if it is not exactly one JSON value.
pub(super) fn parse(frame: &[u8]) -> Result<Parsed, String> {
    let text = str::from_utf8(frame).map_err(|error| error.to_string())?;
    let mut reader = JsonReader { rest: text };
    match reader.value(DEPTH_MAX) {
        Ok(parsed) if reader.next_byte().is_none() => Ok(parsed),
        _ => Err(serde_json::from_str::<IgnoredAny>(text)
            .map_or_else(|error| error.to_string(), |_| "no JSON".to_owned())),
    }
}

struct JsonReader<'a> {
    rest: &'a str,
}

impl<'a> JsonReader<'a> {
    /// Reads a value that may nest `depth` levels deep.
    fn value(&mut self, depth: usize) -> Result<Parsed, Broken> {
        Ok(match self.next_byte().ok_or(Broken)? {
            b'{' | b'[' if depth == 0 => self.skip()?,
            b'{' => self.map(depth - 1)?,
            b'[' => self.list(depth - 1)?,
            b'"' => match self.text()? {
                Some(text) => Value::String(text).into(),
                None => Parsed::foreign(NOT_UNICODE),
            },
            b'-' | b'0'..=b'9' => match self.number()? {
                Some(number) => Value::Number(number).into(),
                None => Parsed::foreign(NOT_FINITE),
            },
            _ => self.literal()?.into(),
        })
    }

    fn map(&mut self, depth: usize) -> Result<Parsed, Broken> {
        let mut entries = Entries::default();
        self.take("{");
        let mut ended = self.take("}");
        while !ended {
            if self.next_byte() != Some(b'"') {
                return Err(Broken);
            }
            let key = self.text()?;
            if !self.take(":") {
                return Err(Broken);
            }
            entries.insert(key, self.value(depth)?);
            ended = self.ends("}")?;
        }
        Ok(entries.finish(depth))
    }

    fn list(&mut self, depth: usize) -> Result<Parsed, Broken> {
        self.take("[");
        let mut ended = self.take("]");
        Parsed::list(iter::from_fn(|| {
            (!ended).then(|| {
                let item = self.value(depth)?;
                ended = self.ends("]")?;
                Ok(item)
            })
        }))
    }

    /// Reads what follows a part of a list or map: a comma, or the end.
    fn ends(&mut self, end: &str) -> Result<bool, Broken> {
        if self.take(",") {
            Ok(false)
        } else if self.take(end) {
            Ok(true)
        } else {
            Err(Broken)
        }
    }

    /// Reads a text; `None` if it is not valid Unicode.
    fn text(&mut self) -> Result<Option<String>, Broken> {
        let bytes = self.rest.as_bytes();
        let mut end = 1;
        while *bytes.get(end).ok_or(Broken)? != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        self.leaf(end + 1)
    }

    /// Reads a number; `None` if it is out of range.
    fn number(&mut self) -> Result<Option<Number>, Broken> {
        let is_part = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
        let end = self.rest.bytes().position(|byte| !is_part(byte));
        self.leaf(end.unwrap_or(self.rest.len()))
    }

    fn literal(&mut self) -> Result<Value, Broken> {
        let literals = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
        ];
        for (literal, value) in literals {
            if self.take(literal) {
                return Ok(value);
            }
        }
        Err(Broken)
    }

    /// Reads a leaf of this many bytes; `None` if only its value cannot be represented.
    fn leaf<T: DeserializeOwned>(&mut self, bytes: usize) -> Result<Option<T>, Broken> {
        let (leaf, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        if let Ok(value) = serde_json::from_str(leaf) {
            return Ok(Some(value));
        }
        match serde_json::from_str::<IgnoredAny>(leaf) {
            Ok(_) => Ok(None),
            Err(_) => Err(Broken),
        }
    }

    /// Skips a value, however deep it nests.
    fn skip(&mut self) -> Result<Parsed, Broken> {
        let mut values = Deserializer::from_str(self.rest).into_iter::<IgnoredAny>();
        let Some(Ok(_)) = values.next() else {
            return Err(Broken);
        };
        self.rest = &self.rest[values.byte_offset()..];
        Ok(Parsed::foreign(TOO_DEEP))
    }

    /// Returns the first byte after white space.
    fn next_byte(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest.bytes().next()
    }

    /// Skips white space, then `token` if it is there, and returns whether it was.
    fn take(&mut self, token: &str) -> bool {
        self.next_byte();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKENS: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        " ",
        "\n",
        "\"\"",
        "\"a\"",
        "\"\\\"\"",
        "\"",
        "\\",
        "\\u12",
        "\"\\ud83d\"",
        "\"\\é\"",
        "é",
        "\u{1}",
        "0",
        "-",
        "1",
        ".5",
        "e9",
        "1e999",
        "01",
        "true",
        "false",
        "null",
        "nul",
        "[[",
        "]]",
        "{\"a\":",
        "\"b\":0,",
    ];

    proptest! {
        #[test]
        fn the_parser_accepts_what_serde_json_accepts(
            tokens in proptest::collection::vec(proptest::sample::select(TOKENS), 0..12),
            depth in 0..40_usize,
        ) {
            let inner = tokens.concat();
            for text in [
                inner.clone(),
                format!("[{inner}]"),
                format!("{{\"a\":{inner}}}"),
                format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth)),
            ] {
                let expected = serde_json::from_str::<IgnoredAny>(&text).is_ok();
                prop_assert_eq!(parse(text.as_bytes()).is_ok(), expected, "{}", text);
            }
        }
    }
}
