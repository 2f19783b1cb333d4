//! What is wrong with a stream, and how it is said.

use std::fmt::{self, Display, Formatter};

use raidhall_protocol::Seq;
use raidhall_protocol::player::PlayerEventData;
use raidhall_protocol::player::event::{CorrectedField, RaidPlace};
use serde_json::{Map, Value, json};

use super::state_part::StatePart;
use crate::player::PlayerFold;

/// A difference between a stream and what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// An event is not what its cause gives. One of the two may be absent, but not both.
    Event {
        seq: Seq,
        cause: Option<RaidPlace>,
        found: Option<Box<PlayerEventData>>,
        expected: Option<Box<PlayerEventData>>,
    },
    /// The event's cause took effect earlier.
    Repeated {
        seq: Seq,
        cause: RaidPlace,
        first: Seq,
    },
    /// A cause has no effect. These are the kinds of events that it should have.
    Missing {
        cause: RaidPlace,
        kinds: Vec<&'static str>,
    },
    /// Seqs without an event.
    Gap { first: Seq, last: Seq },
    /// The saved state is not the fold of the events.
    State { seq: Seq },
    /// A number of the state is wrong.
    Number {
        field: CorrectedField,
        found: u64,
        expected: u64,
    },
    /// A list of the state is wrong. These are the entries that only one of the two has.
    Part {
        part: StatePart,
        found: Value,
        expected: Value,
    },
    /// The store cannot read the stream.
    Unreadable { error: String },
}

impl Difference {
    /// Returns whether an append can mend it.
    pub(super) const fn is_repairable(&self) -> bool {
        match self {
            Self::Event { .. }
            | Self::Repeated { .. }
            | Self::Missing { .. }
            | Self::State { .. }
            | Self::Number { .. } => true,
            Self::Gap { .. } | Self::Part { .. } | Self::Unreadable { .. } => false,
        }
    }

    /// Returns whether it lies in an event that is there, which a later correction settles.
    pub(super) const fn is_settled_by_correction(&self) -> bool {
        matches!(self, Self::Event { .. } | Self::Repeated { .. })
    }
}

/// Compares what a stream's folds add up to.
pub(super) fn compare_folds(
    found: &mut Vec<Difference>,
    recorded: &PlayerFold,
    derived: &PlayerFold,
    shown: &PlayerFold,
) {
    // The streak is compared as a whole, because its days alone cannot be set right.
    let is_alone = |field: &CorrectedField| *field != CorrectedField::Streak;
    for field in CorrectedField::ALL.into_iter().filter(is_alone) {
        let [recorded, expected, number] =
            [recorded, derived, shown].map(|fold| fold.state.number(field));
        if number != expected || recorded != expected {
            found.push(Difference::Number {
                field,
                found: number,
                expected,
            });
        }
    }
    for part in StatePart::ALL {
        let [recorded, expected] = [recorded, derived].map(|fold| part.of(&fold.state));
        if recorded != expected {
            found.push(Difference::Part {
                part,
                found: without(&recorded, &expected),
                expected: without(&expected, &recorded),
            });
        }
    }
}

/// Returns the entries of a list that another one lacks.
fn without(list: &Value, other: &Value) -> Value {
    let [list, other] = [list, other].map(|list| list.as_array().cloned().unwrap_or_default());
    let lacks = |entry: &Value| !other.contains(entry);
    list.into_iter().filter(lacks).collect()
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event {
                seq,
                cause,
                found,
                expected,
            } => {
                write!(f, "event {seq}")?;
                if let Some(cause) = cause {
                    write!(f, " ({})", Place(*cause))?;
                }
                f.write_str(": ")?;
                match (found, expected) {
                    (Some(found), Some(expected)) => compare(f, found, expected),
                    (Some(found), None) => {
                        write!(f, "is {} and should not be there", found.kind())
                    }
                    (None, expected) => {
                        let kind = expected.as_ref().map_or("", |expected| expected.kind());
                        write!(f, "{kind} should come after it")
                    }
                }
            }
            Self::Repeated { seq, cause, first } => write!(
                f,
                "event {seq} ({}): repeats event {first} and should not be there",
                Place(*cause)
            ),
            Self::Missing { cause, kinds } => write!(
                f,
                "{}: has no effect and should have {}",
                Place(*cause),
                kinds.join(" and ")
            ),
            Self::Gap { first, last } if first == last => {
                write!(f, "event {first} is missing")
            }
            Self::Gap { first, last } => write!(f, "events {first} to {last} are missing"),
            Self::State { seq } => write!(
                f,
                "the state saved at event {seq} is not the fold of the events up to it"
            ),
            Self::Number {
                field,
                found,
                expected,
            } => {
                let field = field.as_str();
                if found == expected {
                    write!(
                        f,
                        "{field} is {found}, as it should be, but the events give another number"
                    )
                } else {
                    write!(f, "{field} is {found} and should be {expected}")
                }
            }
            Self::Part {
                part,
                found,
                expected,
            } => write!(f, "{}: {found} should be {expected}", part.name()),
            Self::Unreadable { error } => write!(f, "the stream cannot be read: {error}"),
        }
    }
}

/// Writes which parts of an event differ.
fn compare(
    f: &mut Formatter<'_>,
    found: &PlayerEventData,
    expected: &PlayerEventData,
) -> fmt::Result {
    if found.kind() != expected.kind() {
        return write!(f, "is {} and should be {}", found.kind(), expected.kind());
    }
    let parts = |data: &PlayerEventData| match json!(data)["data"].take() {
        Value::Object(parts) => parts,
        _ => Map::new(),
    };
    let found = parts(found);
    let mut separator = "";
    for (name, expected) in parts(expected) {
        let found = found.get(&name).unwrap_or(&Value::Null);
        if *found != expected {
            write!(f, "{separator}{name} is {found} and should be {expected}")?;
            separator = ", ";
        }
    }
    Ok(())
}

/// Place of a raid's event, in words.
pub(super) struct Place(pub(super) RaidPlace);

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "raid {}, event {}", self.0.raid, self.0.seq)
    }
}
