//! What makes instances one cluster: the lease that keeps an instance alive, the search for raids that nobody serves
//! though something is due in them, and the bus between instances.

pub mod bus;
pub mod due;
pub mod lease;
