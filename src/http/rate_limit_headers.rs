//! The rate limit headers of a response: the limit that its request was charged to, and how much of
//! it is left.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use parking_lot::Mutex;

use super::header_names::{X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET};
use crate::limits::rate::QuotaStatus;

/// The tightest limit that one request was charged to. In the extensions of every request.
#[derive(Debug, Clone, Default)]
pub(super) struct RateLimitHeaders(Arc<Mutex<Option<QuotaStatus>>>);

impl RateLimitHeaders {
    /// Records a charge. Of several limits, the response reports the one with the least left.
    pub(super) fn record(&self, quota: QuotaStatus) {
        let mut tightest = self.0.lock();
        if tightest.is_none_or(|tightest| quota.remaining < tightest.remaining) {
            *tightest = Some(quota);
        }
    }

    /// Inserts the headers, unless the response is the error of a limit that was exceeded and has
    /// them.
    pub(super) fn write_to(&self, headers: &mut HeaderMap) {
        if let Some(quota) = *self.0.lock()
            && !headers.contains_key(X_RATELIMIT_LIMIT)
        {
            insert_rate_limit_headers(headers, quota);
        }
    }
}

/// Inserts the headers for a limit and what is left of it. The time until the reset is rounded up
/// to seconds.
pub(super) fn insert_rate_limit_headers(headers: &mut HeaderMap, quota: QuotaStatus) {
    headers.insert(X_RATELIMIT_LIMIT, quota.limit.into());
    headers.insert(X_RATELIMIT_REMAINING, quota.remaining.into());
    let reset_seconds = quota.reset_after.as_millis().div_ceil(1000);
    let reset_seconds = u64::try_from(reset_seconds).unwrap_or(u64::MAX);
    headers.insert(X_RATELIMIT_RESET, reset_seconds.into());
}

impl<S: Sync> FromRequestParts<S> for RateLimitHeaders {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<RateLimitHeaders, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}
