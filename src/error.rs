//! The one error that a door (socket or REST) turns into an answer.

use std::time::Duration;

use raidhall_protocol::{ErrorBody, ErrorType};

use crate::raid::Refusal;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The raid's rules say no.
    Refused(Refusal),
    /// No token, or a bad or expired one.
    Unauthenticated(&'static str),
    /// Not for this caller.
    Forbidden(&'static str),
    /// There is no such thing.
    NotFound(&'static str),
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body or message is over the limit.
    TooLarge,
    /// Too many of these; try again after the time given.
    RateLimited(Duration),
    /// The raid's inbox is full.
    Overloaded,
    /// There are as many connections as there may be, or too many that begin; try again after the time given.
    TooManyConnections(Duration),
    /// The store or the raid's owner cannot be reached, or a commit failed. An op makes the retry safe.
    Unavailable,
    /// Another instance owns the raid, and nothing took effect here. Only instances hear this: whoever forwarded a
    /// command finds out who does.
    NotOwner,
    /// A fault of ours; nothing took effect.
    Internal,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Error {
    /// The type on the wire.
    pub const fn error_type(&self) -> ErrorType {
        match self {
            Self::Refused(refusal) => refusal.error_type(),
            Self::Unauthenticated(_) => ErrorType::Unauthenticated,
            Self::Forbidden(_) => ErrorType::Forbidden,
            Self::NotFound(_) => ErrorType::NotFound,
            Self::MethodNotAllowed => ErrorType::MethodNotAllowed,
            Self::TooLarge => ErrorType::TooLarge,
            Self::RateLimited(_) => ErrorType::RateLimited,
            Self::Overloaded | Self::TooManyConnections(_) => ErrorType::Overloaded,
            Self::Unavailable | Self::NotOwner => ErrorType::Unavailable,
            Self::Internal => ErrorType::Internal,
        }
    }

    /// When to try again at the earliest, for those where trying again makes sense.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(after) | Self::TooManyConnections(after) => Some(*after),
            Self::Overloaded | Self::Unavailable | Self::NotOwner => {
                Some(Duration::from_millis(500))
            }
            Self::Internal => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The answer's body.
    pub fn body(&self) -> ErrorBody {
        let mut body = ErrorBody::new(self.error_type(), self.message());
        body.retry_after_ms = self
            .retry_after()
            .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        if let Self::Refused(Refusal::Invalid(fields)) = self {
            body.fields = Some(fields.clone());
        }
        body
    }

    const fn message(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => match refusal {
                Refusal::Invalid(_) => "Some fields are not valid",
                Refusal::NotFound => "There is no such raid or task",
                Refusal::NotMember => "The player is not a member of this raid",
                Refusal::NotLeader => "Only the leader may do this",
                Refusal::NotYours => "The task is not yours",
                Refusal::Forbidden => "You may not do this",
                Refusal::WrongStatus => "Not possible in the raid's or task's present status",
                Refusal::TaskTaken => "Somebody else has the task",
                Refusal::RaidFull => "The raid is full",
                Refusal::RaidClosed => "The raid takes no new members",
                Refusal::TooManyTasks => "The raid has as many tasks as it can hold",
                Refusal::NotEnoughEnergy => "Not enough energy",
            },
            Self::Unauthenticated(why) | Self::Forbidden(why) | Self::NotFound(why) => why,
            Self::MethodNotAllowed => "Method not allowed",
            Self::TooLarge => "Too large",
            Self::RateLimited(_) => "Too many requests",
            Self::Overloaded => "The raid is busy; try again",
            Self::TooManyConnections(_) => "Too many connections; try again later",
            Self::Unavailable | Self::NotOwner => "Temporarily unavailable; try again",
            Self::Internal => "Something went wrong on our side",
        }
    }
}
