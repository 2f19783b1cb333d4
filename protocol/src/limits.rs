//! The sizes that are part of the contract. Limits that an operator sets are in the server's configuration.

/// The path of the WebSocket door.
pub const SOCKET_PATH: &str = "/api/v1/ws";
/// The subprotocol of binary MessagePack frames.
pub const SUBPROTOCOL_MSGPACK: &str = "raidhall.v1.msgpack";
/// The subprotocol of JSON text frames.
pub const SUBPROTOCOL_JSON: &str = "raidhall.v1.json";
/// How many maps and lists deep a message may nest, itself counted.
pub const DEPTH_MAX: usize = 32;
/// How many chat messages a raid's state holds.
pub const MESSAGES_SHOWN: usize = 50;
/// Characters of a signal's kind.
pub const SIGNAL_KIND_CHARS_MAX: usize = 32;
