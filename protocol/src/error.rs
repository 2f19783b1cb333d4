//! The one error shape: a type that says whether to retry, for sockets and REST alike.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// What went wrong, as far as a client can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the contract's own words")]
pub enum ErrorType {
    Invalid,
    Unauthenticated,
    Forbidden,
    NotLeader,
    NotYours,
    NotFound,
    NotMember,
    MethodNotAllowed,
    WrongStatus,
    TaskTaken,
    RaidFull,
    RaidClosed,
    TooManyTasks,
    NotEnoughEnergy,
    TooLarge,
    RateLimited,
    Overloaded,
    Unavailable,
    Internal,
}

impl ErrorType {
    /// Every type.
    pub const ALL: [ErrorType; 19] = [
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotLeader,
        Self::NotYours,
        Self::NotFound,
        Self::NotMember,
        Self::MethodNotAllowed,
        Self::WrongStatus,
        Self::TaskTaken,
        Self::RaidFull,
        Self::RaidClosed,
        Self::TooManyTasks,
        Self::NotEnoughEnergy,
        Self::TooLarge,
        Self::RateLimited,
        Self::Overloaded,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotLeader => "not_leader",
            Self::NotYours => "not_yours",
            Self::NotFound => "not_found",
            Self::NotMember => "not_member",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::WrongStatus => "wrong_status",
            Self::TaskTaken => "task_taken",
            Self::RaidFull => "raid_full",
            Self::RaidClosed => "raid_closed",
            Self::TooManyTasks => "too_many_tasks",
            Self::NotEnoughEnergy => "not_enough_energy",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status. A body that does not parse is `invalid` with 400 instead.
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid => 422,
            Self::Unauthenticated => 401,
            Self::Forbidden | Self::NotLeader | Self::NotYours => 403,
            Self::NotFound | Self::NotMember => 404,
            Self::MethodNotAllowed => 405,
            Self::WrongStatus
            | Self::TaskTaken
            | Self::RaidFull
            | Self::RaidClosed
            | Self::TooManyTasks
            | Self::NotEnoughEnergy => 409,
            Self::TooLarge => 413,
            Self::RateLimited => 429,
            Self::Overloaded | Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }

    /// Whether the same request may succeed later.
    pub const fn retry(self) -> bool {
        matches!(
            self,
            Self::RateLimited | Self::Overloaded | Self::Unavailable | Self::Internal
        )
    }
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct FieldFault {
    /// The field's name.
    pub field: String,
    /// What it must be.
    pub message: String,
}

impl FieldFault {
    /// A fault of the named field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// An error as a client gets it. REST adds `status` and `request_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub r#type: ErrorType,
    /// The same for a person.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retry: bool,
    /// When to try again at the earliest, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// What is wrong with which field, for `invalid`.
    pub fields: Option<Vec<FieldFault>>,
}

impl ErrorBody {
    /// An error with neither fields nor a time to wait.
    pub fn new(r#type: ErrorType, message: impl Into<String>) -> Self {
        Self {
            r#type,
            message: message.into(),
            retry: r#type.retry(),
            retry_after_ms: None,
            fields: None,
        }
    }
}
