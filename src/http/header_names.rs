//! Names of the headers that HTTP itself does not define.

use axum::http::HeaderName;

/// Names a request, so that repeating it does nothing twice.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The id of the last event that an event stream's client has received.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The lineage that an event stream's ids belong to.
pub(crate) const RAIDHALL_LINEAGE: HeaderName = HeaderName::from_static("raidhall-lineage");
pub(super) const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
pub(super) const X_RATELIMIT_REMAINING: HeaderName =
    HeaderName::from_static("x-ratelimit-remaining");
pub(super) const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A Telegram Mini App's init data, in place of a body with `init_data`.
pub(super) const X_TELEGRAM_INIT_DATA: HeaderName = HeaderName::from_static("x-telegram-init-data");
