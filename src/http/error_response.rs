//! Error responses. A failed handler returns an empty response with an [`ErrorResponse`] in its
//! extensions. The middleware, which knows the request's id, writes the error body that all errors
//! share, and logs server errors.

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
pub(super) const BOARD_NOT_FOUND: Error = Error::NotFound("There is no such leaderboard");
/// The answer to a wrong invite code.
pub(super) const CODE_NOT_FOUND: Error = Error::NotFound("No raid has this invite code");
pub(super) const ENDPOINT_NOT_FOUND: Error =
    Error::NotFound("No such endpoint is configured at this instance");

/// The error of a request that was not carried out.
#[derive(Debug, Clone)]
pub struct ErrorResponse {
    status: StatusCode,
    body: Box<ErrorBody>,
    cause: Option<Arc<StoreError>>,
    exceeded: Option<RateLimitExceeded>,
}

impl ErrorResponse {
    /// Returns the 400 for a request that cannot be parsed at all; invalid values get
    /// [`ErrorResponse::invalid`].
    pub fn malformed(message: impl Into<String>) -> ErrorResponse {
        let body = Box::new(ErrorBody::new(ErrorType::Invalid, message));
        ErrorResponse {
            status: StatusCode::BAD_REQUEST,
            body,
            cause: None,
            exceeded: None,
        }
    }

    /// Returns the 408 for a request that arrives too slowly.
    pub fn request_timeout(message: impl Into<String>) -> ErrorResponse {
        ErrorResponse {
            status: StatusCode::REQUEST_TIMEOUT,
            ..ErrorResponse::malformed(message)
        }
    }

    /// Returns the error for invalid values, with one fault per field.
    pub fn invalid(faults: Vec<FieldFault>) -> ErrorResponse {
        Error::Refused(Refusal::Invalid(faults)).into()
    }

    /// Returns the error for one invalid value.
    pub fn invalid_field(name: &str, message: impl Into<String>) -> ErrorResponse {
        ErrorResponse::invalid(vec![FieldFault::new(name, message)])
    }

    /// Writes the error into `response`, and logs it if an operator should know.
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
                tracing::error!(cause = cause(), "request failed: internal error")
            }
            ErrorType::Unavailable if self.cause.is_some() => {
                tracing::warn!(cause = cause(), "request failed: store unavailable");
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

/// Formats an error and its chain of sources in one line.
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
        let public_error = match error {
            // Another attempt may reach an instance of the newer release.
            StoreError::Unavailable { .. }
            | StoreError::NewerVersion { .. }
            | StoreError::NewerDefinitions { .. } => Error::Unavailable,
            StoreError::Refused { .. } => Error::Internal,
        };
        ErrorResponse {
            cause: Some(Arc::new(error)),
            ..public_error.into()
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
