//! The origins whose pages may call this server (CORS and WebSockets).

use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::header_names::{
    IDEMPOTENCY_KEY, LAST_EVENT_ID, RAIDHALL_LINEAGE, X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING,
    X_RATELIMIT_RESET, X_REQUEST_ID, X_TELEGRAM_INIT_DATA,
};

/// How long a browser may cache the response to a preflight request.
const PREFLIGHT_AGE_MAX: Duration = Duration::from_secs(3600);

/// The allowlist of origins, besides the server's own, whose pages may call the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginPolicy {
    any: bool,
    exact: Vec<String>,
}

impl OriginPolicy {
    /// Whether every origin is allowed.
    pub fn allows_all(&self) -> bool {
        self.any
    }

    /// Whether `origin`, the value of an `Origin` header, is on the list.
    pub fn allows(&self, origin: &str) -> bool {
        self.any || self.exact.iter().any(|allowed| allowed == origin)
    }

    /// Whether a WebSocket may be opened: by a client without an `Origin`, which is not a page, by
    /// the server's own pages, and by pages of allowed origins. No browser sends several origins.
    pub fn is_allowed(&self, headers: &HeaderMap) -> bool {
        let is_listed = || {
            let mut origins = headers.get_all(ORIGIN).iter();
            let origin = origins.next().and_then(|origin| origin.to_str().ok());
            origins.next().is_none() && origin.is_some_and(|origin| self.allows(origin))
        };
        is_own_or_no_page(headers) || is_listed()
    }

    /// Returns the layer that answers preflight requests and adds CORS headers for allowed origins.
    /// Credentials are never allowed: tokens travel in `Authorization`, which a page's own script
    /// adds.
    pub(super) fn cors_layer(&self) -> CorsLayer {
        let policy = self.clone();
        let allowed = move |origin: &HeaderValue, _: &_| {
            origin.to_str().is_ok_and(|origin| policy.allows(origin))
        };
        CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(allowed))
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers([
                AUTHORIZATION,
                CONTENT_TYPE,
                X_REQUEST_ID,
                IDEMPOTENCY_KEY,
                LAST_EVENT_ID,
                X_TELEGRAM_INIT_DATA,
            ])
            .expose_headers([
                X_REQUEST_ID,
                RETRY_AFTER,
                X_RATELIMIT_LIMIT,
                X_RATELIMIT_REMAINING,
                X_RATELIMIT_RESET,
                RAIDHALL_LINEAGE,
            ])
            .max_age(PREFLIGHT_AGE_MAX)
    }
}

/// Whether a request comes from one of the server's own pages, or from no page: it has no `Origin`.
/// The scheme is not compared: behind a proxy that terminates TLS it is unknown here.
pub(super) fn is_own_or_no_page(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return true;
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|text| text.split_once("://"));
    origins.next().is_none()
        && origin
            .zip(host)
            .is_some_and(|((_, origin), host)| origin.eq_ignore_ascii_case(host))
}

impl<'de> Deserialize<'de> for OriginPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut policy = Self::default();
        for text in Vec::<String>::deserialize(deserializer)? {
            match text.as_str() {
                "*" => policy.any = true,
                text => policy
                    .exact
                    .push(normalize_origin(text).map_err(D::Error::custom)?),
            }
        }
        Ok(policy)
    }
}

/// Returns an origin as browsers write it in `Origin`: in lower case, without the default port of
/// its scheme.
fn normalize_origin(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let exact = match lower.split_once("://") {
        Some(("http", host)) => host
            .strip_suffix(":80")
            .map(|host| format!("http://{host}")),
        Some(("https", host)) => host
            .strip_suffix(":443")
            .map(|host| format!("https://{host}")),
        Some(_) => None,
        None => return Err(invalid_origin_message(text)),
    }
    .unwrap_or(lower);
    let (scheme, host) = exact.split_once("://").expect("checked above");
    let odd = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '@' | '*' | ',');
    if scheme.is_empty() || host.is_empty() || host.contains(odd) || scheme.contains(odd) {
        return Err(invalid_origin_message(text));
    }
    Ok(exact)
}

fn invalid_origin_message(text: &str) -> String {
    format!(
        "{text:?} is not an origin: expected scheme://host[:port] without path or final slash, or \"*\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(origin: &str, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().expect("a header"));
        headers.insert(HOST, host.parse().expect("a header"));
        let policy = OriginPolicy {
            any: false,
            exact: vec!["https://play.example".into()],
        };
        policy.is_allowed(&headers)
    }

    #[test]
    fn a_request_with_several_origins_is_refused() {
        let own = "https://raid.example";
        for (first, second) in [(own, own), (own, "https://evil.example")] {
            let mut headers = HeaderMap::new();
            headers.append(ORIGIN, first.parse().expect("a header"));
            headers.append(ORIGIN, second.parse().expect("a header"));
            headers.insert(HOST, "raid.example".parse().expect("a header"));
            let policy = OriginPolicy {
                any: false,
                exact: vec![own.into()],
            };
            assert!(!policy.is_allowed(&headers), "{first} {second}");
        }
    }

    #[test]
    fn own_and_allowed_origins_may_open_websockets() {
        assert!(admits("http://localhost:8080", "localhost:8080"));
        assert!(admits("https://RAID.example", "raid.example"));
        assert!(admits("https://play.example", "raid.example"));
        assert!(
            OriginPolicy::default().is_allowed(&HeaderMap::new()),
            "no page at all"
        );
        for stranger in [
            "https://evil.example",
            "null",
            "http://localhost:8081",
            "https://play.example.evil",
        ] {
            assert!(!admits(stranger, "localhost:8080"), "{stranger}");
        }
    }
}
