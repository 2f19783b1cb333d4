//! The wire contract: what hostile bytes come to.

mod hostile;
mod round_trip;
