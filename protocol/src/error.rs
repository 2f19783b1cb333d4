//! Errors: one shape for the WebSocket and REST, with a type that says whether to retry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// Type of an error, as far as a client can act on it.
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
    NotEnoughCoins,
    Conflict,
    QuotaExceeded,
    TooLarge,
    RateLimited,
    Overloaded,
    Unavailable,
    Internal,
}

impl ErrorType {
    /// Every error type of the contract.
    pub const ALL: [ErrorType; 22] = [
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
        Self::NotEnoughCoins,
        Self::Conflict,
        Self::QuotaExceeded,
        Self::TooLarge,
        Self::RateLimited,
        Self::Overloaded,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Returns the name on the wire.
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
            Self::NotEnoughCoins => "not_enough_coins",
            Self::Conflict => "conflict",
            Self::QuotaExceeded => "quota_exceeded",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    /// Returns the HTTP status. A body that does not parse is `invalid` with 400 instead.
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
            | Self::NotEnoughEnergy
            | Self::NotEnoughCoins
            | Self::Conflict
            | Self::QuotaExceeded => 409,
            Self::TooLarge => 413,
            Self::RateLimited => 429,
            Self::Overloaded | Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }

    /// Returns whether the same request may succeed later.
    pub const fn retry(self) -> bool {
        matches!(
            self,
            Self::RateLimited | Self::Overloaded | Self::Unavailable | Self::Internal
        )
    }
}

/// A fault in one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct FieldFault {
    /// Name of the faulty field.
    pub field: String,
    /// What the field must be.
    pub message: String,
}

impl FieldFault {
    /// Creates a fault of the named field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// An error as sent to a client. REST adds `status` and `request_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, JsonSchema)]
pub struct ErrorBody {
    /// Type of the error, for programs.
    pub r#type: ErrorType,
    /// Description of the error, for people.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retry: bool,
    /// Shortest time to wait before a retry, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Every faulty field of the request, for `invalid`.
    pub fields: Option<Vec<FieldFault>>,
}

impl ErrorBody {
    /// Creates an error without `fields` and `retry_after_ms`.
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
