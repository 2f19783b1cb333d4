//! Limits on the resources that a client, a player or an address may use.
//!
//! [`rate`] is the token bucket behind every rate limit, [`rate_limiter`] keeps one bucket per key,
//! [`command_limiter`] limits the commands of a player, and `keyed_limit` is a bounded counter per
//! key.

pub mod command_limiter;
pub(crate) mod keyed_limit;
pub mod rate;
pub mod rate_limiter;
