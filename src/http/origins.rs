//! Which pages may talk to this server.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::header_names::{
    IDEMPOTENCY_KEY, LAST_EVENT_ID, RAIDHALL_LINEAGE, X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING,
    X_RATELIMIT_RESET, X_REQUEST_ID, X_TELEGRAM_INIT_DATA,
};

/// How long a browser may remember what it was allowed.
const PREFLIGHT_AGE_MAX: Duration = Duration::from_secs(3600);

/// The origins besides the server's own whose pages may talk to it.
#[derive(Clone)]
pub struct OriginPolicy(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl OriginPolicy {
    /// Those for which `allows` is true; it is given the value of an `Origin` header.
    pub fn new(allows: impl Fn(&str) -> bool + Send + Sync + 'static) -> OriginPolicy {
        OriginPolicy(Arc::new(allows))
    }

    /// No others.
    pub fn none() -> OriginPolicy {
        OriginPolicy::new(|_| false)
    }

    /// Whether a socket may be opened: by the server's own pages, by those allowed, and by what is no page.
    pub fn is_allowed(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else {
            return true;
        };
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        // The scheme is not compared: behind a proxy that ends TLS it is not known here.
        let own = origin
            .split_once("://")
            .zip(host)
            .is_some_and(|((_, from), host)| from.eq_ignore_ascii_case(host));
        own || (self.0)(origin)
    }

    /// Answers preflights and marks answers for pages of the origins allowed. Credentials are never allowed: tokens
    /// travel in `Authorization`, which a page adds itself.
    pub(super) fn cors_layer(&self) -> CorsLayer {
        let OriginPolicy(allows) = self.clone();
        let allowed =
            move |origin: &HeaderValue, _: &_| origin.to_str().is_ok_and(|origin| allows(origin));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(origin: &str, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().expect("a header"));
        headers.insert(HOST, host.parse().expect("a header"));
        OriginPolicy::new(|origin| origin == "https://play.example").is_allowed(&headers)
    }

    #[test]
    fn own_and_allowed_origins_may_open_websockets() {
        assert!(admits("http://localhost:8080", "localhost:8080"));
        assert!(admits("https://RAID.example", "raid.example"));
        assert!(admits("https://play.example", "raid.example"));
        assert!(
            OriginPolicy::none().is_allowed(&HeaderMap::new()),
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
