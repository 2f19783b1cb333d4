//! The unverified header of a JWT: enough to choose the key that must have signed it.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::Value;

/// Longest token that is decoded, far above any genuine one: a signature of RSA-4096 has 683
/// characters.
const TOKEN_BYTES_MAX: usize = 8192;

/// The header of a token (RFC 7515, section 4.1), none of which is proven.
#[derive(Debug, Deserialize)]
pub(super) struct JwtHeader {
    pub(super) alg: String,
    pub(super) kid: Option<String>,
    crit: Option<Value>,
}

impl JwtHeader {
    /// Parses the header of a token of reasonable size. Returns `None` for a token that requires
    /// extensions (`crit`; RFC 7515, section 4.1.11).
    pub(super) fn parse(token: &str) -> Option<JwtHeader> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let mut parts = token.split('.');
        let header = parts.next()?;
        if parts.count() != 2 {
            return None;
        }
        let header = BASE64URL_NOPAD.decode(header.as_bytes()).ok()?;
        serde_json::from_slice(&header)
            .ok()
            .filter(|header: &JwtHeader| header.crit.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Option<JwtHeader> {
        JwtHeader::parse(&format!(
            "{}.e30.c2ln",
            BASE64URL_NOPAD.encode(header.as_bytes())
        ))
    }

    #[test]
    fn a_token_header_names_its_algorithm_and_key() {
        let header =
            read(r#"{"typ":"JWT","alg":"EdDSA","kid":"a","jwk":{"kty":"oct"},"x5u":"https://e"}"#);
        let header = header.expect("a header");
        assert_eq!(
            (header.alg.as_str(), header.kid.as_deref()),
            ("EdDSA", Some("a"))
        );
    }

    #[test]
    fn a_token_without_a_plain_header_is_refused() {
        for header in [
            r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
            r#"{"alg":"HS256","crit":[]}"#,
            r#"{"alg":"HS256","alg":"none"}"#,
            r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
            r#"{"alg":"HS256","kid":7}"#,
            r#"{"alg":null}"#,
            "{}",
            "[]",
            "",
        ] {
            assert!(read(header).is_none(), "{header}");
        }
        for token in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c",
            "eyJhbGciOiJIUzI1NiJ9.e30.c.d",
            "eyJhbGciOiJIUzI1NiJ9=.e30.c",
        ] {
            assert!(JwtHeader::parse(token).is_none(), "{token}");
        }
        let long = format!("eyJhbGciOiJIUzI1NiJ9.{}.c", "e".repeat(TOKEN_BYTES_MAX));
        assert!(JwtHeader::parse(&long).is_none());
    }
}
