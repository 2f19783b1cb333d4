//! Every error's way out. A handler's failure travels as an empty response with the failure in its extensions; the
//! edge, which knows the request's id, writes the one body that errors have, and logs what needs to be.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::header::{CONTENT_LENGTH, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use raidhall_protocol::rest::{Failed, RestError};
use raidhall_protocol::{ErrorBody, ErrorType, FieldFault};

use crate::error::Error;
use crate::limits::rate::Exceeded;
use crate::raid::Refusal;
use crate::store::StoreError;

pub(super) const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
pub(super) const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
pub(super) const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// A request that was not carried out.
#[derive(Debug, Clone)]
pub struct Failure {
    status: StatusCode,
    body: Box<ErrorBody>,
    cause: Option<Arc<StoreError>>,
    exceeded: Option<Exceeded>,
}

impl Failure {
    /// The request cannot be read at all: 400, unlike values that make no sense.
    pub fn malformed(message: impl Into<String>) -> Failure {
        let body = Box::new(ErrorBody::new(ErrorType::Invalid, message));
        Failure {
            status: StatusCode::BAD_REQUEST,
            body,
            cause: None,
            exceeded: None,
        }
    }

    /// The request does not arrive as fast as it must: 408.
    pub fn late(message: impl Into<String>) -> Failure {
        Failure {
            status: StatusCode::REQUEST_TIMEOUT,
            ..Failure::malformed(message)
        }
    }

    /// Values that make no sense, every one named.
    pub fn invalid(faults: Vec<FieldFault>) -> Failure {
        Error::Refused(Refusal::Invalid(faults)).into()
    }

    /// One value that makes no sense.
    pub fn field(name: &str, message: impl Into<String>) -> Failure {
        Failure::invalid(vec![FieldFault::new(name, message)])
    }

    /// Writes the failure into `response`, and logs it if somebody should know.
    pub(super) fn render(self, request_id: &str, response: &mut Response) {
        self.log();
        set_headers(response.headers_mut(), &self);
        let error = RestError {
            body: *self.body,
            status: self.status.as_u16(),
            request_id: request_id.to_owned(),
        };
        let (parts, body) = Json(Failed { error }).into_response().into_parts();
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().extend(parts.headers);
        *response.body_mut() = body;
    }

    fn log(&self) {
        let cause = || self.cause.as_deref().map_or_else(String::new, chain);
        match self.body.r#type {
            ErrorType::Internal => {
                tracing::error!(cause = cause(), "request failed by a fault of ours")
            }
            ErrorType::Unavailable if self.cause.is_some() => {
                tracing::warn!(cause = cause(), "request failed for want of the store");
            }
            _ => {}
        }
    }
}

fn set_headers(headers: &mut HeaderMap, failure: &Failure) {
    if let Some(millis) = failure.body.retry_after_ms {
        headers.insert(RETRY_AFTER, millis.div_ceil(1000).into());
    }
    if failure.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(exceeded) = failure.exceeded {
        headers.insert(LIMIT, exceeded.limit.into());
        headers.insert(REMAINING, 0.into());
        headers.insert(RESET, seconds(exceeded.reset_after).into());
    }
}

/// Seconds, rounded up.
pub(super) fn seconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// The error and what caused it, in one line.
fn chain(error: &StoreError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let body = Box::new(error.body());
        let status =
            StatusCode::from_u16(body.r#type.status()).expect("every type has an HTTP status");
        Failure {
            status,
            body,
            cause: None,
            exceeded: None,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let shown = match error {
            // An instance of the newer release has the answer.
            StoreError::Unavailable { .. } | StoreError::NewerVersion { .. } => Error::Unavailable,
            StoreError::Refused { .. } => Error::Internal,
        };
        Failure {
            cause: Some(Arc::new(error)),
            ..shown.into()
        }
    }
}

impl From<Exceeded> for Failure {
    fn from(exceeded: Exceeded) -> Failure {
        Failure {
            exceeded: Some(exceeded),
            ..Error::RateLimited(exceeded.retry_after).into()
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
