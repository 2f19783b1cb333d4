//! Typed reading of a map's fields that records every fault instead of stopping at the first.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::FieldFault;
use crate::ids::OpKey;

/// Reader of one map's fields. Its methods return `None` after recording a fault under the field's
/// name. Unknown fields are ignored, whatever they hold. Null counts as absent. A whole number may
/// be written in any way: 7.0 is 7.
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    foreign: Option<&'a Foreign>,
    faults: Vec<FieldFault>,
}

/// Record of the places in a message that hold something other than plain data (binary data, NaN,
/// half a surrogate pair). The message's values have null there. Such data is a fault only if its
/// field is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Foreign {
    /// The value is foreign as a whole, for this reason.
    Whole(&'static str),
    /// Some fields of a map are foreign.
    Within(BTreeMap<String, Foreign>),
}

impl Foreign {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Whole(reason) => reason,
            Self::Within(fields) => fields
                .values()
                .next()
                .map_or("must hold plain data", Self::reason),
        }
    }
}

const REQUIRED: &str = "is required";
/// Exclusive bound of the whole numbers that a JavaScript number holds exactly.
const WHOLE_END: i64 = 1 << 53;

impl<'a> Fields<'a> {
    /// Creates a reader of a map.
    pub fn new(map: &'a Map<String, Value>) -> Self {
        Self {
            map,
            foreign: None,
            faults: Vec::new(),
        }
    }

    pub(crate) const fn with_foreign(
        map: &'a Map<String, Value>,
        foreign: Option<&'a Foreign>,
    ) -> Self {
        Self {
            map,
            foreign,
            faults: Vec::new(),
        }
    }

    /// Records a fault of a field.
    pub fn fault(&mut self, field: &str, message: impl Into<String>) {
        self.faults.push(FieldFault::new(field, message));
    }

    /// Returns the value that was read, or all faults if there were any.
    pub fn finish<T>(self, read: Option<T>) -> Result<T, Vec<FieldFault>> {
        match read {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(self.faults),
        }
    }

    fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    /// Returns whether a field is present and not null.
    pub fn has(&self, field: &str) -> bool {
        self.get(field).is_some() || self.foreign(field).is_some()
    }

    fn foreign(&self, field: &str) -> Option<&'a Foreign> {
        match self.foreign {
            Some(Foreign::Within(fields)) => fields.get(field),
            _ => None,
        }
    }

    fn required<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&'a Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = match self.foreign(field) {
            Some(Foreign::Whole(reason)) => Err((*reason).to_owned()),
            _ => self.get(field).ok_or_else(|| REQUIRED.to_owned()),
        };
        match value.and_then(read) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(field, message);
                None
            }
        }
    }

    fn optional<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&'a Value) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let absent = self.get(field).is_none() && self.foreign(field).is_none();
        if absent {
            Some(None)
        } else {
            self.required(field, read).map(Some)
        }
    }

    /// Reads a required text.
    pub fn text(&mut self, field: &str) -> Option<String> {
        self.required(field, read_text)
    }

    /// Reads a text that may be absent.
    pub fn optional_text(&mut self, field: &str) -> Option<Option<String>> {
        self.optional(field, read_text)
    }

    /// Reads a required whole number.
    pub fn integer(&mut self, field: &str) -> Option<i64> {
        self.required(field, read_integer)
    }

    /// Reads a whole number that may be absent.
    pub fn optional_integer(&mut self, field: &str) -> Option<Option<i64>> {
        self.optional(field, read_integer)
    }

    /// Reads a required whole number from 0 to 2^53 − 1.
    pub fn natural(&mut self, field: &str) -> Option<u64> {
        self.required(field, read_natural)
    }

    /// Reads a whole number from 0 to 2^53 − 1 that may be absent.
    pub fn optional_natural(&mut self, field: &str) -> Option<Option<u64>> {
        self.optional(field, read_natural)
    }

    /// Reads a boolean that may be absent.
    pub fn optional_flag(&mut self, field: &str) -> Option<Option<bool>> {
        self.optional(field, |value| {
            value
                .as_bool()
                .ok_or_else(|| "must be true or false".to_owned())
        })
    }

    /// Reads a required id.
    pub fn id<T: TryFrom<u64, Error: ToString>>(&mut self, field: &str) -> Option<T> {
        self.required(field, |value| {
            T::try_from(natural(value).unwrap_or(0)).map_err(|error| error.to_string())
        })
    }

    /// Reads a required idempotency key.
    pub fn op(&mut self, field: &str) -> Option<OpKey> {
        self.required(field, read_op)
    }

    /// Reads an idempotency key that may be absent.
    pub fn optional_op(&mut self, field: &str) -> Option<Option<OpKey>> {
        self.optional(field, read_op)
    }

    /// Returns any value of plain data; null when absent.
    pub fn any(&mut self, field: &str) -> &'a Value {
        if let Some(foreign) = self.foreign(field) {
            self.fault(field, foreign.reason());
        }
        self.map.get(field).unwrap_or(&Value::Null)
    }

    /// Reads a required map inside this one with `read` and records its faults here.
    pub fn nested<T>(
        &mut self,
        field: &str,
        read: impl FnOnce(&mut Fields<'a>) -> Option<T>,
    ) -> Option<T> {
        let map = self.required(field, |value| {
            value.as_object().ok_or_else(|| "must be a map".to_owned())
        })?;
        let mut inner = Fields::with_foreign(map, self.foreign(field));
        let value = read(&mut inner);
        self.faults.append(&mut inner.faults);
        value
    }
}

fn read_op(value: &Value) -> Result<OpKey, String> {
    OpKey::try_from(read_text(value)?).map_err(|error| error.to_string())
}

fn read_text(value: &Value) -> Result<String, String> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| "must be a text".to_owned())
}

fn read_integer(value: &Value) -> Result<i64, String> {
    integer(value).ok_or_else(|| "must be a whole number".to_owned())
}

fn read_natural(value: &Value) -> Result<u64, String> {
    natural(value).ok_or_else(|| "must be a whole number from 0 to 2^53 - 1".to_owned())
}

/// Returns a value as a whole number from 0 to 2^53 − 1, if it is one.
pub(crate) fn natural(value: &Value) -> Option<u64> {
    integer(value)
        .filter(|number| *number < WHOLE_END)?
        .try_into()
        .ok()
}

/// Returns a value as a whole number, if it is one. Floats count as well, because some MessagePack
/// encoders write every integer over 32 bits as a float.
fn integer(value: &Value) -> Option<i64> {
    let from_float = || {
        let number = value.as_f64()?;
        let whole = number.fract() == 0.0 && number.abs() < WHOLE_END as f64;
        whole.then_some(number as i64)
    };
    value.as_i64().or_else(from_float)
}
