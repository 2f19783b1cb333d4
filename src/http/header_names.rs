//! The names of headers that the `http` crate does not define.

use axum::http::HeaderName;

/// The client's idempotency key for a request; the same for every attempt.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The id of the last event that the client of an event stream has received.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The lineage to which the event ids of an event stream belong.
pub(crate) const RAIDHALL_LINEAGE: HeaderName = HeaderName::from_static("raidhall-lineage");
pub(super) const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
pub(super) const X_RATELIMIT_REMAINING: HeaderName =
    HeaderName::from_static("x-ratelimit-remaining");
pub(super) const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The init data of a Telegram Mini App, instead of a body with `init_data`.
pub(super) const X_TELEGRAM_INIT_DATA: HeaderName = HeaderName::from_static("x-telegram-init-data");
