//! Request bodies: a JSON object, read field by field, so that all faults are reported at once.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use raidhall_protocol::fields::Fields;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::error::Error;
use crate::http::error_response::ErrorResponse;
use crate::http::origins::is_own_or_no_page;

/// How long a request's body may take to arrive. In the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct BodyTimeout(pub(in crate::http) Duration);

/// The fields of a request's body.
pub(in crate::http) struct JsonBody(pub(in crate::http) Map<String, Value>);

impl JsonBody {
    /// Reads fields with `read`, which returns `None` if a field has a fault. Fails with all
    /// faults.
    pub(in crate::http) fn read<T>(
        &self,
        read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
    ) -> Result<T, ErrorResponse> {
        let mut fields = Fields::new(&self.0);
        let value = read(&mut fields);
        fields.finish(value).map_err(ErrorResponse::invalid)
    }
}

/// Parses the text of a field. If the text is refused, records the fault of the field and returns
/// `None`.
pub(in crate::http) fn parse_text(
    fields: &mut Fields<'_>,
    name: &str,
    text: &str,
    parse: fn(&str) -> Result<&str, &'static str>,
) -> Option<String> {
    match parse(text) {
        Ok(text) => Some(text.to_owned()),
        Err(fault) => {
            fields.fault(name, fault);
            None
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ErrorResponse;

    async fn from_request(request: Request, state: &S) -> Result<JsonBody, ErrorResponse> {
        if !is_json(request.headers()) {
            return Err(ErrorResponse::malformed(
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
            .map_err(|_| ErrorResponse::request_timeout("The body did not arrive in time"))?;
        let bytes = arrived.map_err(|rejection| match rejection.into_response().status() {
            StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge.into(),
            _ => ErrorResponse::malformed("The body did not arrive whole"),
        })?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => Ok(JsonBody(map)),
            Ok(_) => Err(ErrorResponse::malformed("The body must be a JSON object")),
            Err(error) => Err(ErrorResponse::malformed(format!(
                "The body is not valid JSON: {error}"
            ))),
        }
    }
}

/// Whether the content type is JSON, or missing in a request that no other page can have sent: a
/// browser asks before it lets a page send JSON to another server, but not if there is no type.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return is_own_or_no_page(headers);
    };
    let kind = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}
