//! Every error's way out. A handler's failure travels as an empty response with the failure in its extensions; the
//! edge, which knows the request's id, writes the one body that errors have, and logs what needs to be.

use std::sync::Arc;

use axum::Json;
use axum::http::header::{CONTENT_LENGTH, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use raidhall_protocol::rest::{Failed, RestError};
use raidhall_protocol::{ErrorBody, ErrorType, FieldFault};

use super::rate_limit_headers::insert_rate_limit_headers;
use crate::error::Error;
use crate::limits::rate::{QuotaStatus, RateLimitExceeded};
use crate::raid::Refusal;
use crate::store::StoreError;

pub(super) const PLAYER_NOT_FOUND: Error = Error::NotFound("There is no such player");
pub(super) const ENDPOINT_NOT_FOUND: Error =
    Error::NotFound("No such endpoint is configured at this instance");

/// A request that was not carried out.
#[derive(Debug, Clone)]
pub struct ErrorResponse {
    status: StatusCode,
    body: Box<ErrorBody>,
    cause: Option<Arc<StoreError>>,
    exceeded: Option<RateLimitExceeded>,
}

impl ErrorResponse {
    /// The request cannot be read at all: 400, unlike values that make no sense.
    pub fn malformed(message: impl Into<String>) -> ErrorResponse {
        let body = Box::new(ErrorBody::new(ErrorType::Invalid, message));
        ErrorResponse {
            status: StatusCode::BAD_REQUEST,
            body,
            cause: None,
            exceeded: None,
        }
    }

    /// The request does not arrive as fast as it must: 408.
    pub fn request_timeout(message: impl Into<String>) -> ErrorResponse {
        ErrorResponse {
            status: StatusCode::REQUEST_TIMEOUT,
            ..ErrorResponse::malformed(message)
        }
    }

    /// Values that make no sense, every one named.
    pub fn invalid(faults: Vec<FieldFault>) -> ErrorResponse {
        Error::Refused(Refusal::Invalid(faults)).into()
    }

    /// One value that makes no sense.
    pub fn invalid_field(name: &str, message: impl Into<String>) -> ErrorResponse {
        ErrorResponse::invalid(vec![FieldFault::new(name, message)])
    }

    /// Writes the failure into `response`, and logs it if an operator should know.
    pub(super) fn render(self, request_id: &str, response: &mut Response) {
        self.log();
        set_error_headers(response.headers_mut(), &self);
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
        let cause = || self.cause.as_deref().map_or_else(String::new, error_chain);
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

fn set_error_headers(headers: &mut HeaderMap, failure: &ErrorResponse) {
    if let Some(millis) = failure.body.retry_after_ms {
        headers.insert(RETRY_AFTER, millis.div_ceil(1000).into());
    }
    if failure.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(exceeded) = failure.exceeded {
        let quota = QuotaStatus {
            limit: exceeded.limit,
            remaining: 0,
            reset_after: exceeded.reset_after,
        };
        insert_rate_limit_headers(headers, quota);
    }
}

/// The error and what caused it, in one line.
fn error_chain(error: &StoreError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

impl From<Error> for ErrorResponse {
    fn from(error: Error) -> ErrorResponse {
        let body = Box::new(error.body());
        let status =
            StatusCode::from_u16(body.r#type.status()).expect("every type has an HTTP status");
        ErrorResponse {
            status,
            body,
            cause: None,
            exceeded: None,
        }
    }
}

impl From<StoreError> for ErrorResponse {
    fn from(error: StoreError) -> ErrorResponse {
        let shown = match error {
            // An instance of the newer release has the answer.
            StoreError::Unavailable { .. } | StoreError::NewerVersion { .. } => Error::Unavailable,
            StoreError::Refused { .. } => Error::Internal,
        };
        ErrorResponse {
            cause: Some(Arc::new(error)),
            ..shown.into()
        }
    }
}

impl From<RateLimitExceeded> for ErrorResponse {
    fn from(exceeded: RateLimitExceeded) -> ErrorResponse {
        ErrorResponse {
            exceeded: Some(exceeded),
            ..Error::RateLimited(exceeded.retry_after).into()
        }
    }
}

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
