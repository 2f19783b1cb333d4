//! Ids, seqs, times and idempotency keys on the wire, each with a type of its own.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Exclusive bound of ids: a JavaScript number holds every smaller one exactly.
const ID_END: u64 = 1 << 53;

/// Error for a number that is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a positive integer below 2^53")]
pub struct NotAnId;

macro_rules! id {
    ($(#[doc = $doc:literal])* $name:ident) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS)]
        #[serde(try_from = "u64", into = "u64")]
        #[ts(as = "u64")]
        pub struct $name(u64);

        impl $name {
            /// Returns the id as a plain number.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = NotAnId;
            fn try_from(number: u64) -> Result<Self, NotAnId> {
                if (1..ID_END).contains(&number) { Ok(Self(number)) } else { Err(NotAnId) }
            }
        }

        impl TryFrom<i64> for $name {
            type Error = NotAnId;
            fn try_from(number: i64) -> Result<Self, NotAnId> {
                u64::try_from(number).map_err(|_| NotAnId)?.try_into()
            }
        }

        impl From<$name> for u64 {
            fn from(id: $name) -> u64 {
                id.0
            }
        }

        impl From<$name> for i64 {
            fn from(id: $name) -> i64 {
                id.0.cast_signed() // below 2^53
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": concat!($($doc),*).trim(),
                    "type": "integer",
                    "minimum": 1,
                    "maximum": ID_END - 1,
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// Id of a raid, from 1 to 2^53 − 1.
    RaidId
}
id! {
    /// Id of a player, from 1 to 2^53 − 1.
    PlayerId
}
id! {
    /// Id of a task: its number within its raid, from 1 in the order in which tasks were added.
    TaskId
}

/// Seq: the number of an event in its raid, from 1 without a gap; 0 is before the first event.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    TS,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Seq(#[schemars(range(max = 9_007_199_254_740_991_u64))] pub u64);

impl Seq {
    /// The seq before the first event.
    pub const ZERO: Seq = Seq(0);

    /// Returns the seq after this one.
    pub const fn next(self) -> Seq {
        Seq(self.0 + 1)
    }

    /// Returns the number of events after `earlier`, up to this seq; 0 if this seq is not later.
    pub const fn since(self, earlier: Seq) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Point in time, in milliseconds since the Unix epoch.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    TS,
    JsonSchema,
)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Returns the time `millis` milliseconds after this one.
    pub const fn plus(self, millis: i64) -> UnixMillis {
        UnixMillis(self.0 + millis)
    }

    /// Returns the milliseconds from `earlier` to this time; negative if this time is earlier.
    pub const fn since(self, earlier: UnixMillis) -> i64 {
        self.0 - earlier.0
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Idempotency key chosen by a client: 1–64 characters of `A-Z a-z 0-9 _ - .`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[ts(as = "String")]
#[schemars(extend("pattern" = "^[A-Za-z0-9_.-]{1,64}$"))]
pub struct OpKey(String);

/// Error for a text that is not an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 characters of A-Z a-z 0-9 _ - .")]
pub struct NotAnOpKey;

impl OpKey {
    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for OpKey {
    type Error = NotAnOpKey;
    fn try_from(text: String) -> Result<Self, NotAnOpKey> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(NotAnOpKey)
        }
    }
}

impl From<OpKey> for String {
    fn from(key: OpKey) -> String {
        key.0
    }
}
