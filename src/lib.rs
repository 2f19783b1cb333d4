//! Raidhall: a real-time WebSocket game-session server for co-op raids.
//!
//! `docs/ARCHITECTURE.md` has the map. In short: [`raid`] decides, [`session`] keeps one raid live, [`store`] makes
//! what it decided durable, [`audience`] shows it to everybody who watches.

pub mod app;
pub mod cli;
pub mod config;
pub mod error;
pub mod raid;
pub mod store;
pub mod telemetry;
