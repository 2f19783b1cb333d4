//! Raidhall: a real-time WebSocket game-session server for co-op raids.
//!
//! `docs/ARCHITECTURE.md` describes the whole. In short: [`raid`] contains the rules that decide
//! commands, [`session`] runs one live raid, [`store`] makes its events durable, and [`fanout`]
//! delivers them to every client that watches.

pub mod app;
pub mod auth;
pub mod backup;
pub mod calendar;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod definitions;
pub mod error;
pub mod fanout;
pub mod feed_reader;
pub mod http;
pub mod http_client;
pub mod jobs;
pub mod limits;
pub mod net;
pub mod option_value;
pub mod player;
pub mod private_file;
pub mod progression;
pub mod raid;
pub mod random;
pub mod rebuild;
pub mod redact;
pub mod session;
#[cfg(test)]
mod simulation;
pub mod store;
pub mod streams;
pub mod task_group;
pub mod telemetry;
pub mod webhooks;
pub mod ws;
