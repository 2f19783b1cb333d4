//! A client of the server, in layers: one socket, the REST doors, and a player who survives the loss of both.

mod backoff;
mod decoder;
mod pending;
mod player;
mod rest;
mod socket;

pub use backoff::{CloseClass, ReconnectDelay};
pub use decoder::{Decoder, UnreadableFrame};
pub use player::{ClientCounts, Player, PlayerOptions, Step};
pub use rest::{RestClient, RestClientError};
pub use socket::{CloseInfo, ConnectError, Incoming, Socket, UpgradeRequest};
