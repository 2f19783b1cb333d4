//! The charge for the rows of a page, which its handler makes before it reads them.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::Authenticated;
use crate::http::AppState;
use crate::http::error_response::ErrorResponse;
use crate::http::rate_limit_headers::RateLimitHeaders;
use crate::net::client_address::ClientAddress;

/// How many rows a player's profile is charged as: it is folded from a state and up to 64 events.
pub(in crate::http) const ROWS_PER_PROFILE: u32 = 5;

/// What a charge for rows needs of the request.
pub(in crate::http) struct RowCharge {
    address: ClientAddress,
    limit_headers: RateLimitHeaders,
}

impl RowCharge {
    /// Charges the caller, if they are a player, for a page of at most `limit` rows.
    pub(in crate::http) async fn apply(
        self,
        app: &AppState,
        caller: &Authenticated,
        limit: u32,
    ) -> Result<(), ErrorResponse> {
        app.rate_limits
            .charge_rows(&caller.0, self.address, limit, &self.limit_headers)
            .await
    }
}

impl FromRequestParts<Arc<AppState>> for RowCharge {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &Arc<AppState>,
    ) -> Result<RowCharge, Infallible> {
        Ok(RowCharge {
            address: ClientAddress::from_request_parts(parts, app).await?,
            limit_headers: RateLimitHeaders::from_request_parts(parts, app).await?,
        })
    }
}
