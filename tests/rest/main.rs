//! The REST doors with real sessions behind them, over a store in memory: what the contract says, asked from outside.

#![allow(unreachable_pub, reason = "a test has no outside")]

#[path = "../support/routes.rs"]
mod routes;
#[path = "../support/schema.rs"]
mod schema;

mod access;
mod accounts;
mod admin;
mod documented;
mod erasure;
mod extra_fields;
mod host_app;
mod house;
mod identities;
mod limits;
mod own_data;
mod raids;
mod service;
mod standing;
mod streams;
mod vouched;
mod webhooks;
