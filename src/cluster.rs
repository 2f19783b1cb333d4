//! Which instance owns which raid: the lease that keeps an instance alive, and the search for raids that nobody
//! serves though something is due in them.

pub mod due;
pub mod lease;
