//! Tests of the REST API through its router, with real sessions and a store in memory. Every
//! response is checked against the OpenAPI document.

#![allow(unreachable_pub, reason = "a test has no outside")]

#[path = "../support/routes.rs"]
mod routes;
#[path = "../support/schema.rs"]
mod schema;
#[path = "../support/wait.rs"]
mod wait;

mod access;
mod accounts;
mod admin;
mod boards;
mod erasure;
mod external_auth_server;
mod extra_fields;
mod host_app;
mod identities;
mod invites;
mod limits;
mod moderation;
mod openapi_check;
mod own_data;
mod player_streams;
mod profiles;
mod progress;
mod raid_moderation;
mod raids;
mod rest_server;
mod service;
mod streams;
mod webhooks;
