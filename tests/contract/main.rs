//! The contract as documents: AsyncAPI for the socket, all of it from the types that the server speaks; OpenAPI for REST, its
//! schemas from those types where there are such, its operations as `operations` lists them. They are kept in `protocol/` and embedded in the server; `UPDATE_FIXTURES=1 cargo test -p raidhall --test
//! contract` writes them anew.

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
mod schemas;

use std::path::Path;

use serde_json::Value;

/// Compares a committed document with what the code says, or writes it.
fn check_or_update_document(name: &str, document: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("protocol")
        .join(name);
    let text = format!("{document:#}\n");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(&path, text).expect("written");
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{name} is not what the code says: UPDATE_FIXTURES=1 cargo test -p raidhall --test contract"
    );
}
