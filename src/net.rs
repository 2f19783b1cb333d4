//! Network edges that are independent of HTTP routes and of the WebSocket protocol.
//!
//! [`listener`] accepts connections within the process's limit of open files, [`client_address`] finds the client's
//! address behind trusted proxies, and [`http_client`] makes outgoing HTTP requests.

pub mod client_address;
pub mod http_client;
pub mod listener;
