//! A client of the server, in layers: one WebSocket, the REST API, and a player that survives the
//! loss of both.

mod backoff;
mod decoder;
mod http;
mod pending;
mod player;
mod rest;
mod socket;

pub use backoff::{CloseClass, ReconnectDelay};
pub use decoder::{Decoder, UnreadableFrame};
pub use player::{ClientCounts, Player, PlayerOptions, Step};
pub use rest::{RestClient, RestClientError};
pub use socket::{CloseInfo, ConnectError, Incoming, Socket, UpgradeRequest};
