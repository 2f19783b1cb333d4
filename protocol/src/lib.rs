//! The wire contract of Raidhall, as pure data: messages, commands, events, the raid's state, both codecs, errors,
//! close codes and limits. It does no I/O and holds no rules.
//!
//! Read [`client`] and [`server`] for what goes over a socket, [`event`] and [`state`] for what a raid is made of,
//! [`decode`] for how hostile bytes become typed messages, and [`rest`] for the bodies of the REST doors.

#![warn(missing_docs)]

pub mod admin;
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
pub mod rest;
pub mod server;
pub mod state;

pub use client::ClientMessage;
pub use close::CloseCode;
pub use codec::Codec;
pub use command::Command;
pub use error::{ErrorBody, ErrorType, FieldFault};
pub use event::{Event, EventData};
pub use ids::{OpKey, PlayerId, RaidId, Seq, TaskId, UnixMillis};
pub use server::ServerMessage;
pub use state::RaidState;
