//! Request bodies: a JSON object, read field by field so that every fault is named at once.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use raidhall_protocol::fields::Fields;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::error_response::Failure;
use crate::error::Error;

/// How long a request's body may take to arrive. In the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyTimeout(pub(super) Duration);

/// The body's fields.
pub(super) struct Body(pub(super) Map<String, Value>);

impl Body {
    /// Reads fields; `None` from `read` means that a fault was noted.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
    ) -> Result<T, Failure> {
        let mut fields = Fields::new(&self.0);
        let value = read(&mut fields);
        fields.finish(value).map_err(Failure::invalid)
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Body, Failure> {
        if !is_json(request.headers()) {
            return Err(Failure::malformed(
                "The body must be sent as application/json",
            ));
        }
        let limit = request
            .extensions()
            .get()
            .map_or(Duration::MAX, |BodyTimeout(limit)| *limit);
        let arriving = timeout(limit, Bytes::from_request(request, state));
        let arrived = arriving
            .await
            .map_err(|_| Failure::late("The body did not arrive in time"))?;
        let bytes = arrived.map_err(|rejection| match rejection.into_response().status() {
            StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge.into(),
            _ => Failure::malformed("The body did not arrive whole"),
        })?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => Ok(Body(map)),
            Ok(_) => Err(Failure::malformed("The body must be a JSON object")),
            Err(error) => Err(Failure::malformed(format!(
                "The body is not valid JSON: {error}"
            ))),
        }
    }
}

/// Whether the body claims to be JSON, or claims nothing.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let kind = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}
