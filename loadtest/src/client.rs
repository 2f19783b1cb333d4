//! A client of the server, in layers: one socket, the REST doors, and a player who survives the loss of both.

mod backoff;
mod decoder;
mod pending;
mod player;
mod rest;
mod socket;

pub use backoff::{Backoff, CloseClass};
pub use decoder::{Decoder, Unreadable};
pub use player::{Equipment, Player, Step, Tally};
pub use rest::{Rest, RestError};
pub use socket::{Closed, ConnectError, Incoming, Socket, Upgrade};
