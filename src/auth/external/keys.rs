//! An issuer's public keys (RFC 7517), and the verification of a token with the key that it names.
//!
//! A key's algorithm (RS256, ES256 or EdDSA) follows from the key alone, never from a token. So a
//! public key cannot be passed off as a secret, and `none` is not an algorithm.

use std::collections::HashMap;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use thiserror::Error;

use super::claims::ClaimsMap;
use crate::auth::jwt_header::JwtHeader;

/// Maximum number of keys in a set; no issuer has that many at once.
const KEYS_MAX: usize = 64;
/// Shorter keys can be broken (NIST SP 800-131A).
const RSA_BYTES_MIN: usize = 256;
/// Longer keys only cost time.
const RSA_BYTES_MAX: usize = 1024;

/// The usable keys of one issuer.
pub(super) struct KeySet {
    keys: Vec<IssuerKey>,
    /// Number of keys in the document that are not usable.
    pub(super) skipped: usize,
}

struct IssuerKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Reason why a document yields no keys.
#[derive(Debug, Error)]
pub(super) enum KeySetError {
    /// The document is not a JSON Web Key Set.
    #[error("not a JSON Web Key Set: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// No key in the document is usable.
    #[error("holds no key for RS256, ES256 or EdDSA that only checks signatures")]
    Empty,
    /// The document holds more keys than any issuer needs.
    #[error("holds more than {KEYS_MAX} keys")]
    TooMany,
}

/// Reason why a token's signature was not verified.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SignatureError {
    /// No key has the token's key id. The issuer may have published a new one.
    UnknownKey,
    /// The signature does not match the key, or the token names another algorithm.
    BadSignature,
}

#[derive(Deserialize)]
struct JwksDocument {
    keys: Vec<serde_json::Value>,
}

/// The members of a JSON Web Key that matter here. `d` marks a private key, which must not be in a
/// published set.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde_json::Value>,
}

impl KeySet {
    pub(super) fn parse(document: &[u8]) -> Result<KeySet, KeySetError> {
        let JwksDocument { keys } = serde_json::from_slice(document)?;
        let count = keys.len();
        if count > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let mut keys: Vec<IssuerKey> = keys.into_iter().filter_map(IssuerKey::parse).collect();
        let mut times: HashMap<Option<String>, usize> = HashMap::new();
        for key in &keys {
            *times.entry(key.id.clone()).or_default() += 1;
        }
        // Of two keys with one id it is unclear which is meant, so neither is accepted.
        keys.retain(|key| key.id.is_none() || times[&key.id] == 1);
        if keys.is_empty() {
            return Err(KeySetError::Empty);
        }
        Ok(KeySet {
            skipped: count - keys.len(),
            keys,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns the claims of a token that one of the keys has signed. A token without a key id is
    /// verified only if there is exactly one key.
    pub(super) fn verify(
        &self,
        header: &JwtHeader,
        token: &str,
    ) -> Result<ClaimsMap, SignatureError> {
        let key = match (&header.kid, self.keys.as_slice()) {
            (Some(kid), keys) => keys
                .iter()
                .find(|key| key.id.as_ref() == Some(kid))
                .ok_or(SignatureError::UnknownKey)?,
            (None, [only]) => only,
            (None, _) => return Err(SignatureError::BadSignature),
        };
        if header.alg != algorithm_name(key.algorithm) {
            return Err(SignatureError::BadSignature);
        }
        let mut validation = Validation::new(key.algorithm);
        // Expiry, start and audience are checked in `claims`, against the database's clock.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        jsonwebtoken::decode(token, &key.key, &validation)
            .map(|token| token.claims)
            .map_err(|_| SignatureError::BadSignature)
    }
}

impl IssuerKey {
    fn parse(value: serde_json::Value) -> Option<IssuerKey> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let checks = jwk.r#use.as_deref().is_none_or(|purpose| purpose == "sig")
            && jwk
                .key_ops
                .as_ref()
                .is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !checks || jwk.d.is_some() {
            return None;
        }
        let (algorithm, key) = decoding_key(&jwk)?;
        let fits = jwk
            .alg
            .as_deref()
            .is_none_or(|alg| alg == algorithm_name(algorithm));
        fits.then_some(IssuerKey {
            id: jwk.kid,
            algorithm,
            key,
        })
    }
}

fn decoding_key(jwk: &Jwk) -> Option<(Algorithm, DecodingKey)> {
    let bytes = |part: &Option<String>| BASE64URL_NOPAD.decode(part.as_deref()?.as_bytes()).ok();
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", None) => {
            let modulus = bytes(&jwk.n)?;
            let exponent = bytes(&jwk.e)?;
            let length = modulus.iter().skip_while(|byte| **byte == 0).count();
            if !(RSA_BYTES_MIN..=RSA_BYTES_MAX).contains(&length) {
                return None;
            }
            Some((
                Algorithm::RS256,
                DecodingKey::from_rsa_raw_components(&modulus, &exponent),
            ))
        }
        ("EC", Some("P-256")) => {
            let (x, y) = (jwk.x.as_deref()?, jwk.y.as_deref()?);
            Some((
                Algorithm::ES256,
                DecodingKey::from_ec_components(x, y).ok()?,
            ))
        }
        ("OKP", Some("Ed25519")) => {
            let x = jwk.x.as_deref()?;
            (bytes(&jwk.x)?.len() == 32).then_some(())?;
            Some((Algorithm::EdDSA, DecodingKey::from_ed_components(x).ok()?))
        }
        _ => None,
    }
}

const fn algorithm_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256 => "RS256",
        Algorithm::ES256 => "ES256",
        Algorithm::EdDSA => "EdDSA",
        _ => "",
    }
}
