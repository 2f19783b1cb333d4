//! Several instances on one database: ownership of raids, messages between instances, and
//! takeovers.
//!
//! **The database alone decides ownership.** The bus only makes the cluster fast; correctness never
//! depends on it.

pub mod bus;
pub mod client;
pub mod lease;
pub mod membership;
pub mod message;
pub mod ownership;
