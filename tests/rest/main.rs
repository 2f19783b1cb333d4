//! The REST doors with real sessions behind them, over a store in memory: what the contract says, asked from outside.

#![allow(unreachable_pub, reason = "a test has no outside")]

mod access;
mod accounts;
mod admin;
mod host_app;
mod house;
mod identities;
mod limits;
mod own_data;
mod raids;
mod service;
mod standing;
mod streams;
