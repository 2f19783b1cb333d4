//! The error of a request, which a WebSocket connection or the REST API turns into a reply.

use std::time::Duration;

use raidhall_protocol::{ErrorBody, ErrorType};

use crate::raid::Refusal;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The raid's rules refuse the command.
    Refused(Refusal),
    /// The token is missing, invalid or expired.
    Unauthenticated(&'static str),
    /// The caller is not allowed to do this.
    Forbidden(&'static str),
    /// What the request names has changed since the caller saw it.
    Conflict(&'static str),
    /// Not possible in the present status of what the request names.
    WrongStatus(&'static str),
    /// The player has too few coins.
    NotEnoughCoins,
    /// What the request names does not exist.
    NotFound(&'static str),
    /// The path exists, but not with this method.
    MethodNotAllowed,
    /// The body or message is over the limit.
    TooLarge,
    /// The caller has exceeded a rate limit; retry after the given time.
    RateLimited(Duration),
    /// The session's mailbox is full.
    Overloaded,
    /// The limit of connections, or of handshakes in progress, is reached; retry after the given
    /// time.
    TooManyConnections(Duration),
    /// The database's space is low; nothing new is begun until there is more.
    SpaceLow,
    /// The store or the raid's owner cannot be reached, or a commit failed. The request may have
    /// taken effect; an op makes the retry safe.
    Unavailable,
    /// Another instance owns the raid, and nothing took effect here. Only instances get this error:
    /// the follower that forwarded a command then looks up the owner.
    NotOwner,
    /// A bug in the server; nothing took effect.
    Internal,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Error {
    /// Returns the error's type on the wire.
    pub const fn error_type(&self) -> ErrorType {
        match self {
            Self::Refused(refusal) => refusal.error_type(),
            Self::Unauthenticated(_) => ErrorType::Unauthenticated,
            Self::Forbidden(_) => ErrorType::Forbidden,
            Self::Conflict(_) => ErrorType::Conflict,
            Self::WrongStatus(_) => ErrorType::WrongStatus,
            Self::NotEnoughCoins => ErrorType::NotEnoughCoins,
            Self::NotFound(_) => ErrorType::NotFound,
            Self::MethodNotAllowed => ErrorType::MethodNotAllowed,
            Self::TooLarge => ErrorType::TooLarge,
            Self::RateLimited(_) => ErrorType::RateLimited,
            Self::Overloaded | Self::TooManyConnections(_) | Self::SpaceLow => {
                ErrorType::Overloaded
            }
            Self::Unavailable | Self::NotOwner => ErrorType::Unavailable,
            Self::Internal => ErrorType::Internal,
        }
    }

    /// Returns how long to wait at least before a retry, for errors where a retry may succeed.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(after) | Self::TooManyConnections(after) => Some(*after),
            Self::Overloaded | Self::Unavailable | Self::NotOwner => {
                Some(Duration::from_millis(500))
            }
            Self::SpaceLow => Some(Duration::from_secs(60)),
            Self::Internal => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// Returns the body of the reply.
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
                Refusal::TaskTaken => "The task is taken",
                Refusal::RaidFull => "The raid is full",
                Refusal::RaidClosed => "The raid takes no new members",
                Refusal::TooManyTasks => "The raid has as many tasks as it can hold",
                Refusal::NotEnoughEnergy => "Not enough energy",
                Refusal::QuotaExceeded => "A limit of this player or raid is reached",
            },
            Self::Unauthenticated(why)
            | Self::Forbidden(why)
            | Self::Conflict(why)
            | Self::WrongStatus(why)
            | Self::NotFound(why) => why,
            Self::NotEnoughCoins => "Not enough coins",
            Self::MethodNotAllowed => "Method not allowed",
            Self::TooLarge => "Too large",
            Self::RateLimited(_) => "Too many requests",
            Self::Overloaded => "The raid is busy; try again",
            Self::SpaceLow => "No space for new raids and players; try again later",
            Self::TooManyConnections(_) => "Too many connections; try again later",
            Self::Unavailable | Self::NotOwner => "Temporarily unavailable; try again",
            Self::Internal => "Something went wrong on our side",
        }
    }
}
