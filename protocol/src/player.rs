//! The player's stream: the numbered history of one player, which all of their devices follow.
//!
//! [`command`] holds what can be asked of it, [`event`] what happened, [`state`] what the events add
//! up to, and [`message`] how all of it travels on a WebSocket.

pub mod command;
pub mod event;
pub mod message;
pub mod state;

pub use command::PlayerCommand;
pub use event::{PlayerEvent, PlayerEventData};
pub use message::{PlayerMessage, PlayerRequest};
pub use state::PlayerState;
