//! Why a raid refuses a command.

use raidhall_protocol::{ErrorType, FieldFault};

/// Why a command was refused. A refusal changes nothing and leaves no trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Values that make no sense; every one is named.
    Invalid(Vec<FieldFault>),
    /// No such raid or task, or none that the caller may see.
    NotFound,
    /// The player meant is no member.
    NotMember,
    /// Only the leader may.
    NotLeader,
    /// Only the task's assignee (or, for a release, the leader) may.
    NotYours,
    /// Not for this caller.
    Forbidden,
    /// Not while the raid, or the task, stands where it stands.
    WrongStatus,
    /// Somebody else has the task.
    TaskTaken,
    /// No place is left.
    RaidFull,
    /// The raid takes no members any more.
    RaidClosed,
    /// No task more.
    TooManyTasks,
    /// A claim costs more energy than the member has.
    NotEnoughEnergy,
}

impl Refusal {
    /// The type on the wire.
    pub const fn error_type(&self) -> ErrorType {
        match self {
            Self::Invalid(_) => ErrorType::Invalid,
            Self::NotFound => ErrorType::NotFound,
            Self::NotMember => ErrorType::NotMember,
            Self::NotLeader => ErrorType::NotLeader,
            Self::NotYours => ErrorType::NotYours,
            Self::Forbidden => ErrorType::Forbidden,
            Self::WrongStatus => ErrorType::WrongStatus,
            Self::TaskTaken => ErrorType::TaskTaken,
            Self::RaidFull => ErrorType::RaidFull,
            Self::RaidClosed => ErrorType::RaidClosed,
            Self::TooManyTasks => ErrorType::TooManyTasks,
            Self::NotEnoughEnergy => ErrorType::NotEnoughEnergy,
        }
    }

    /// The refusal of a type on the wire, with the faults that `invalid` names; none for a type that is no refusal.
    pub fn from_error_type(kind: ErrorType, fields: Vec<FieldFault>) -> Option<Refusal> {
        Some(match kind {
            ErrorType::Invalid => Self::Invalid(fields),
            ErrorType::NotFound => Self::NotFound,
            ErrorType::NotMember => Self::NotMember,
            ErrorType::NotLeader => Self::NotLeader,
            ErrorType::NotYours => Self::NotYours,
            ErrorType::Forbidden => Self::Forbidden,
            ErrorType::WrongStatus => Self::WrongStatus,
            ErrorType::TaskTaken => Self::TaskTaken,
            ErrorType::RaidFull => Self::RaidFull,
            ErrorType::RaidClosed => Self::RaidClosed,
            ErrorType::TooManyTasks => Self::TooManyTasks,
            ErrorType::NotEnoughEnergy => Self::NotEnoughEnergy,
            ErrorType::Unauthenticated
            | ErrorType::MethodNotAllowed
            | ErrorType::TooLarge
            | ErrorType::RateLimited
            | ErrorType::Overloaded
            | ErrorType::Unavailable
            | ErrorType::Internal => return None,
        })
    }
}
