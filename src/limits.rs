//! Limits on what a client, a player or an address may use.
//!
//! [`rate`] is the token bucket behind every rate limit, [`rate_limiter`] one bucket per key, and `keyed_limit` a bounded
//! counter per key.

pub(crate) mod keyed_limit;
pub mod rate;
pub mod rate_limiter;
