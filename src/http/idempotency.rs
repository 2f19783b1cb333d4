//! `Idempotency-Key`: a client's own name for a request, so that repeating it does nothing twice.

use axum::http::HeaderMap;
use raidhall_protocol::{FieldFault, OpKey};

pub(super) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The header's key, if there is one.
///
/// # Errors
///
/// When it is there and no key.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<OpKey>, FieldFault> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = OpKey::try_from(value.to_str().unwrap_or_default().to_owned());
    key.map(Some).map_err(|error| FieldFault::new(IDEMPOTENCY_KEY, error.to_string()))
}

/// The one key of a request that may name it in its header and in its body.
///
/// # Errors
///
/// When it names two.
pub(super) fn agreed(header: Option<OpKey>, body: Option<OpKey>) -> Result<Option<OpKey>, FieldFault> {
    match (header, body) {
        (Some(header), Some(body)) if header != body => {
            Err(FieldFault::new("op", "must be the same as the Idempotency-Key, or only one of them given"))
        }
        (header, body) => Ok(header.or(body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_come_by_header_or_body_and_not_as_two() {
        let op = |text: &str| OpKey::try_from(text.to_owned()).ok();
        assert_eq!(agreed(None, None), Ok(None));
        assert_eq!(agreed(op("a"), None), Ok(op("a")));
        assert_eq!(agreed(None, op("a")), Ok(op("a")));
        assert_eq!(agreed(op("a"), op("a")), Ok(op("a")));
        assert_eq!(agreed(op("a"), op("b")).map_err(|fault| fault.field), Err("op".to_owned()));
    }

    #[test]
    fn a_header_that_is_no_key_is_named() {
        let mut headers = HeaderMap::new();
        assert_eq!(key(&headers), Ok(None));
        headers.insert(IDEMPOTENCY_KEY, "0190f3-a.b_c".parse().expect("a header"));
        assert!(matches!(key(&headers), Ok(Some(_))));
        for bad in ["", "a b", &"x".repeat(65), "é"] {
            headers.insert(IDEMPOTENCY_KEY, bad.parse().expect("a header"));
            assert_eq!(
                key(&headers).map_err(|fault| fault.field),
                Err(IDEMPOTENCY_KEY.to_owned()),
                "{bad:?}"
            );
        }
    }
}
