//! The id of each request, which appears in its response, in its error and in the logs.

use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue};

use crate::random::new_uuid;

use super::header_names::X_REQUEST_ID;

/// The id of a request. In the extensions of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Returns the `X-Request-Id` that the client sent, if it is 1 to 64 characters that are safe
    /// in a log; otherwise a new id.
    pub(super) fn from_headers(headers: &HeaderMap) -> RequestId {
        let given = headers
            .get(X_REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|id| is_safe_to_log(id));
        RequestId(given.map_or_else(|| new_uuid().to_string().into(), Arc::from))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn header_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("its characters are those of header values")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_safe_to_log(id: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=64).contains(&id.len()) && id.bytes().all(allowed)
}
