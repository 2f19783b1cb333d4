//! The reasons for which a raid refuses a command.

use raidhall_protocol::{ErrorType, FieldFault};

/// Reason why a command was refused. A refusal changes nothing and leaves no trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Values are invalid; all faults are listed.
    Invalid(Vec<FieldFault>),
    /// The raid or task does not exist, or the caller cannot see it.
    NotFound,
    /// The named player is not a member.
    NotMember,
    /// The command is reserved for the leader.
    NotLeader,
    /// The command is reserved for the task's assignee (for a release, also for the leader; for
    /// an edit or a removal, for the task's author and the leader), or the host app's backend did
    /// not add the task.
    NotYours,
    /// The caller may not send this command.
    Forbidden,
    /// The status of the raid or the task does not allow the command.
    WrongStatus,
    /// The task is already claimed.
    TaskTaken,
    /// The raid has its maximum number of members.
    RaidFull,
    /// The raid does not accept new members any more.
    RaidClosed,
    /// The raid has its maximum number of tasks.
    TooManyTasks,
    /// A claim costs more energy than the member has.
    NotEnoughEnergy,
    /// The player has used up what one player may have, or the raid what it may record in a day.
    QuotaExceeded,
}

impl Refusal {
    /// Returns the error type on the wire.
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
            Self::QuotaExceeded => ErrorType::QuotaExceeded,
        }
    }

    /// Returns the refusal for an error type on the wire, with the faults of `invalid`; `None` for
    /// a type that is not a refusal.
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
            ErrorType::QuotaExceeded => Self::QuotaExceeded,
            ErrorType::Unauthenticated
            | ErrorType::Conflict
            | ErrorType::NotEnoughCoins
            | ErrorType::MethodNotAllowed
            | ErrorType::TooLarge
            | ErrorType::RateLimited
            | ErrorType::Overloaded
            | ErrorType::Unavailable
            | ErrorType::Internal => return None,
        })
    }
}
