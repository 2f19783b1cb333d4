//! The documents of the contract. The AsyncAPI document describes the WebSocket and is generated
//! from the protocol's types. The OpenAPI document describes REST: its schemas come from those
//! types where there are such, its operations from `operations`. Both are kept in `protocol/` and
//! embedded in the server; `UPDATE_FIXTURES=1 cargo test -p raidhall --test contract` regenerates
//! them.

#![allow(unreachable_pub, reason = "a test has no outside")]

#[path = "../support/routes.rs"]
mod routes;
#[path = "../support/schema.rs"]
mod schema;

mod asyncapi;
mod examples;
mod layers;
mod openapi;
mod operation;
mod operations;
mod release_files;
mod schemas;
mod texts;

use std::path::Path;

use serde_json::Value;

/// Compares a committed document with the generated one, or writes it if `UPDATE_FIXTURES` is set.
fn check_or_update_document(name: &str, document: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("protocol")
        .join(name);
    let text = format!("{document:#}\n");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(&path, text).expect("written");
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "{name} is out of date: UPDATE_FIXTURES=1 cargo test -p raidhall --test contract"
    );
}
