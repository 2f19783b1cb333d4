//! What a request was charged to, and how much of that is left: for the headers of its answer.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use parking_lot::Mutex;

use super::error_response::seconds_rounded_up;
use super::header_names::{X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET};
use crate::limits::rate::QuotaStatus;

/// One request's. In the extensions of every request.
#[derive(Debug, Clone, Default)]
pub(super) struct RateLimitHeaders(Arc<Mutex<Option<QuotaStatus>>>);

impl RateLimitHeaders {
    /// Something was charged. Of several limits the one is told that is reached first.
    pub(super) fn record(&self, standing: QuotaStatus) {
        let mut noted = self.0.lock();
        if noted.is_none_or(|noted| standing.remaining < noted.remaining) {
            *noted = Some(standing);
        }
    }

    /// Tells the client, unless it was told already that it is too much.
    pub(super) fn write_to(&self, headers: &mut HeaderMap) {
        let Some(QuotaStatus {
            limit,
            remaining,
            reset_after,
        }) = *self.0.lock()
        else {
            return;
        };
        if !headers.contains_key(X_RATELIMIT_LIMIT) {
            headers.insert(X_RATELIMIT_LIMIT, limit.into());
            headers.insert(X_RATELIMIT_REMAINING, remaining.into());
            headers.insert(X_RATELIMIT_RESET, seconds_rounded_up(reset_after).into());
        }
    }
}

impl<S: Sync> FromRequestParts<S> for RateLimitHeaders {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<RateLimitHeaders, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}
