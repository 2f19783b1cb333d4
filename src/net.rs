//! Network edges that are independent of HTTP routes and of the WebSocket protocol.
//!
//! [`listener`] accepts connections within the process's limit of open files, and [`client_address`] finds the client's
//! address behind trusted proxies.

pub mod client_address;
pub mod listener;
