//! Network code that depends neither on HTTP routes nor on the WebSocket protocol.
//!
//! [`listener`] accepts connections within the process's limit of open files, and
//! [`client_address`] finds the client's address behind trusted proxies.

pub mod client_address;
pub mod listener;
