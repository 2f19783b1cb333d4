//! Signatures of messages as defined by [Standard
//! Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md):
//! HMAC-SHA256 over the id, the time and the body.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use crate::redact::REDACTED;

/// Prefix of a key's text.
const KEY_PREFIX: &str = "whsec_";
/// Permitted lengths of a key in bytes, by the specification.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Key that signs an endpoint's messages. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Vec<u8>);

/// Error of a text that is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "must be whsec_ and the base64 of 24 to 64 random bytes, for example from `echo whsec_$(openssl rand -base64 32)`"
)]
pub struct SigningKeyError;

impl FromStr for SigningKey {
    type Err = SigningKeyError;

    fn from_str(text: &str) -> Result<SigningKey, SigningKeyError> {
        let bytes = text
            .strip_prefix(KEY_PREFIX)
            .and_then(|text| BASE64.decode(text.as_bytes()).ok());
        bytes
            .filter(|bytes| KEY_BYTES.contains(&bytes.len()))
            .map(SigningKey)
            .ok_or(SigningKeyError)
    }
}

impl SigningKey {
    /// Returns one signature: its version and its base64.
    pub(super) fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of the specification's reference implementations.
    #[test]
    fn the_specification_example_has_its_documented_signature() {
        let key: SigningKey = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
            .parse()
            .expect("a key");
        let signed = key.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(format!("{key:?}"), "[redacted]");
    }

    #[test]
    fn a_signing_key_of_a_wrong_length_or_format_is_refused() {
        let of = |count| format!("whsec_{}", BASE64.encode(&vec![7; count]));
        for good in [of(24), of(32), of(64)] {
            assert!(good.parse::<SigningKey>().is_ok());
        }
        for bad in [
            of(23),
            of(65),
            of(0),
            of(32).replace("whsec_", ""),
            "whsec_not base64!".into(),
            "".into(),
        ] {
            assert_eq!(bad.parse::<SigningKey>(), Err(SigningKeyError), "{bad}");
        }
    }
}
