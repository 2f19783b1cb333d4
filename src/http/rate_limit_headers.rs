//! What a request was charged to, and how much of that is left: for the headers of its answer.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use parking_lot::Mutex;

use super::error_response::{LIMIT, REMAINING, RESET, seconds};
use crate::limits::rate::Standing;

/// One request's. In the extensions of every request.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<Mutex<Option<Standing>>>);

impl Tally {
    /// Something was charged. Of several limits the one is told that is reached first.
    pub(super) fn note(&self, standing: Standing) {
        let mut noted = self.0.lock();
        if noted.is_none_or(|noted| standing.remaining < noted.remaining) {
            *noted = Some(standing);
        }
    }

    /// Tells the client, unless it was told already that it is too much.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        let Some(Standing {
            limit,
            remaining,
            reset_after,
        }) = *self.0.lock()
        else {
            return;
        };
        if !headers.contains_key(LIMIT) {
            headers.insert(LIMIT, limit.into());
            headers.insert(REMAINING, remaining.into());
            headers.insert(RESET, seconds(reset_after).into());
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Tally {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Tally, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}
