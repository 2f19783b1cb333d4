//! `Idempotency-Key`: a client's own name for a request, so that repeating it does nothing twice.

use axum::http::HeaderMap;
use raidhall_protocol::{FieldFault, OpKey};

use super::header_names::IDEMPOTENCY_KEY;

/// The name under which a fault of the header is told.
pub(super) const IDEMPOTENCY_KEY_FIELD: &str = "Idempotency-Key";

/// The header's key, if there is one.
///
/// # Errors
///
/// When it is there and no key.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<OpKey>, FieldFault> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = OpKey::try_from(value.to_str().unwrap_or_default().to_owned());
    key.map(Some)
        .map_err(|error| FieldFault::new(IDEMPOTENCY_KEY_FIELD, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_idempotency_key_header_is_named() {
        let mut headers = HeaderMap::new();
        assert_eq!(key(&headers), Ok(None));
        headers.insert(IDEMPOTENCY_KEY, "0190f3-a.b_c".parse().expect("a header"));
        assert!(matches!(key(&headers), Ok(Some(_))));
        for bad in ["", "a b", &"x".repeat(65), "é"] {
            headers.insert(IDEMPOTENCY_KEY, bad.parse().expect("a header"));
            assert_eq!(
                key(&headers).map_err(|fault| fault.field),
                Err(IDEMPOTENCY_KEY_FIELD.to_owned()),
                "{bad:?}"
            );
        }
    }
}
