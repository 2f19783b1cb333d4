//! The endpoints of the REST API, one file per resource. Handlers translate; they hold no rules.

pub(super) mod accounts;
pub(super) mod admin;
pub(super) mod boards;
pub(super) mod commands;
pub(super) mod documents;
pub(super) mod erasure;
pub(super) mod export;
pub(super) mod health;
pub(super) mod host_app;
pub(super) mod identities;
pub(super) mod ledger;
pub(super) mod player_streams;
pub(super) mod profiles;
pub(super) mod raids;
pub(super) mod web_app;
pub(super) mod webhooks;
