//! Typed reading of a map's fields that notes every fault instead of stopping at the first.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::FieldFault;
use crate::ids::OpKey;

/// The fields of one map. Readers return `None` after noting a fault under the field's name; unknown fields are
/// ignored, whatever they hold. Null counts as absent. A whole number is one whichever way it is written: 7.0 is 7.
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    foreign: Option<&'a Foreign>,
    faults: Vec<FieldFault>,
}

/// Where a message holds what no field can be (binary data, NaN, half a surrogate pair): beside its values, in which
/// such things are left out. It matters only if somebody reads that field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Foreign {
    /// The value as a whole, and why.
    Whole(&'static str),
    /// Some fields of a map.
    Within(BTreeMap<String, Foreign>),
}

impl Foreign {
    fn reason(&self) -> &'static str {
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
/// One more than the largest whole number that a JavaScript number holds exactly, as is each below it.
const WHOLE_END: i64 = 1 << 53;

impl<'a> Fields<'a> {
    /// Starts to read a map.
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

    /// Notes a fault.
    pub fn fault(&mut self, field: &str, message: impl Into<String>) {
        self.faults.push(FieldFault::new(field, message));
    }

    /// What was read, if there was no fault; else all faults.
    pub fn finish<T>(self, read: Option<T>) -> Result<T, Vec<FieldFault>> {
        match read {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(self.faults),
        }
    }

    fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
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

    /// A text.
    pub fn text(&mut self, field: &str) -> Option<String> {
        self.required(field, read_text)
    }

    /// A text or nothing.
    pub fn optional_text(&mut self, field: &str) -> Option<Option<String>> {
        self.optional(field, read_text)
    }

    /// A whole number.
    pub fn integer(&mut self, field: &str) -> Option<i64> {
        self.required(field, read_integer)
    }

    /// A whole number or nothing.
    pub fn optional_integer(&mut self, field: &str) -> Option<Option<i64>> {
        self.optional(field, read_integer)
    }

    /// A whole number from 0 to 2^53 − 1.
    pub fn natural(&mut self, field: &str) -> Option<u64> {
        self.required(field, read_natural)
    }

    /// A whole number from 0 to 2^53 − 1, or nothing.
    pub fn optional_natural(&mut self, field: &str) -> Option<Option<u64>> {
        self.optional(field, read_natural)
    }

    /// True, false, or nothing.
    pub fn optional_flag(&mut self, field: &str) -> Option<Option<bool>> {
        self.optional(field, |value| {
            value
                .as_bool()
                .ok_or_else(|| "must be true or false".to_owned())
        })
    }

    /// An id.
    pub fn id<T: TryFrom<u64, Error: ToString>>(&mut self, field: &str) -> Option<T> {
        self.required(field, |value| {
            T::try_from(natural(value).unwrap_or(0)).map_err(|error| error.to_string())
        })
    }

    /// An idempotency key or nothing.
    pub fn optional_op(&mut self, field: &str) -> Option<Option<OpKey>> {
        self.optional(field, |value| {
            OpKey::try_from(read_text(value)?).map_err(|error| error.to_string())
        })
    }

    /// Any value; null when absent.
    pub fn any(&mut self, field: &str) -> &'a Value {
        if let Some(foreign) = self.foreign(field) {
            self.fault(field, foreign.reason());
        }
        self.map.get(field).unwrap_or(&Value::Null)
    }

    /// A map inside this one, read by `read`; its faults are noted here.
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

/// The whole number from 0 to 2^53 − 1 that a value is.
pub(crate) fn natural(value: &Value) -> Option<u64> {
    integer(value)
        .filter(|number| *number < WHOLE_END)?
        .try_into()
        .ok()
}

/// Some MessagePack writers know floats only for what exceeds 32 bits.
fn integer(value: &Value) -> Option<i64> {
    let from_float = || {
        let number = value.as_f64()?;
        let whole = number.fract() == 0.0 && number.abs() < WHOLE_END as f64;
        whole.then_some(number as i64)
    };
    value.as_i64().or_else(from_float)
}
