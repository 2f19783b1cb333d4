//! The `Idempotency-Key` header: a client's key for a request, so that repeating the request has no
//! second effect.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use raidhall_protocol::{FieldFault, OpKey};

use crate::http::error_response::ErrorResponse;
use crate::http::header_names::IDEMPOTENCY_KEY;

/// The name of the header as the field of a fault.
const FIELD: &str = "Idempotency-Key";

/// The idempotency key of a request, if it has one, or the fault of an invalid header. Extraction
/// itself never fails, so that a handler decides which faults it reports first.
pub(in crate::http) struct IdempotencyKey(pub(in crate::http) Result<Option<OpKey>, FieldFault>);

impl IdempotencyKey {
    pub(in crate::http) fn from_headers(headers: &HeaderMap) -> IdempotencyKey {
        let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
            return IdempotencyKey(Ok(None));
        };
        let key = OpKey::try_from(value.to_str().unwrap_or_default().to_owned());
        let key = key.map_err(|error| FieldFault::new(FIELD, error.to_string()));
        IdempotencyKey(key.map(Some))
    }

    /// Returns the key. Fails with the fault of the header.
    pub(in crate::http) fn validate(self) -> Result<Option<OpKey>, ErrorResponse> {
        self.0.map_err(|fault| ErrorResponse::invalid(vec![fault]))
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<IdempotencyKey, Infallible> {
        Ok(IdempotencyKey::from_headers(&parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_idempotency_key_header_is_named() {
        let mut headers = HeaderMap::new();
        let key = |headers: &HeaderMap| IdempotencyKey::from_headers(headers).0;
        assert_eq!(key(&headers), Ok(None));
        headers.insert(IDEMPOTENCY_KEY, "0190f3-a.b_c".parse().expect("a header"));
        assert!(matches!(key(&headers), Ok(Some(_))));
        for bad in ["", "a b", &"x".repeat(65), "é"] {
            headers.insert(IDEMPOTENCY_KEY, bad.parse().expect("a header"));
            assert_eq!(
                key(&headers).map_err(|fault| fault.field),
                Err("Idempotency-Key".to_owned()),
                "{bad:?}"
            );
        }
    }
}
