//! The wire contract of Raidhall as plain data: messages, commands, events, raid state, both
//! codecs, errors, close codes and limits. This crate does no I/O and contains no game rules.
//!
//! Start with [`client`] and [`server`] for the messages of a WebSocket, [`event`] and [`state`]
//! for a raid's history and state, [`decode`] for how untrusted bytes become typed messages, and
//! [`rest`] for the bodies of the REST API.

#![warn(missing_docs)]

pub mod admin;
pub mod boards;
pub mod client;
pub mod close;
pub mod codec;
pub mod command;
pub mod decode;
pub mod error;
pub mod event;
pub mod fields;
pub mod host_app;
pub mod ids;
pub mod limits;
pub mod player;
pub mod progression;
pub mod rest;
pub mod server;
pub mod state;
pub mod text;

pub use client::ClientMessage;
pub use close::CloseCode;
pub use codec::Codec;
pub use command::Command;
pub use error::{ErrorBody, ErrorType, FieldFault};
pub use event::{Event, EventData};
pub use ids::{OpKey, PlayerId, RaidId, Seq, TaskId, UnixMillis};
pub use server::ServerMessage;
pub use state::RaidState;
