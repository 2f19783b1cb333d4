//! Many instances on one database: who owns which raid, what they tell each other, and what is done when one is gone.
//!
//! The database is the judge of ownership; the bus makes it fast and is needed for nothing to be right.

pub mod bus;
pub mod client;
pub mod lease;
pub mod membership;
pub mod message;
pub mod ownership;
