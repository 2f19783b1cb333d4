//! The OpenAPI document, which describes the REST API.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::operation::Operation;
use super::schemas::Schemas;
use super::{check_or_update_document, operations, routes, schema};

const DESCRIPTION: &str = "The REST API of Raidhall, a server for real-time co-op raids. Live \
                           updates come over a WebSocket, which [an AsyncAPI \
                           document](/api/asyncapi.json) describes, or over a raid's event \
                           stream. An error's `retry` says whether the same request may succeed \
                           later. Unknown fields are ignored.";

/// Returns the path of an operation at the server: health checks are at the root, all others below
/// `/api/v1`.
fn full_path(operation: &Operation) -> String {
    match operation.path {
        root @ ("/healthz" | "/readyz") => root.to_owned(),
        path => format!("/api/v1{path}"),
    }
}

fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    let mut refusals = Map::new();
    for operation in operations::all_operations(&mut schemas) {
        let described = operation.document(&mut schemas, &mut refusals);
        let methods = paths
            .entry(full_path(&operation))
            .or_insert_with(|| json!({}));
        let former = methods
            .as_object_mut()
            .expect("a map")
            .insert(operation.method.to_lowercase(), described);
        assert!(
            former.is_none(),
            "{} {} is described twice",
            operation.method,
            operation.path
        );
    }
    let integer_header = |description: &str| json!({"description": description, "schema": {"type": "integer", "minimum": 0}});
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Raidhall",
            "version": "1",
            "description": DESCRIPTION,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "Access token of a player, or a token of scope `service` (the host app's backend) or `admin` (operators).",
            }},
            "headers": {
                "X-Request-ID": {
                    "description": "Id of the request in logs and errors: the client's own, if it is valid, or a new one.",
                    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"},
                },
                "WWW-Authenticate": {"description": "Always `Bearer`.", "schema": {"type": "string"}},
                "Content-Disposition": {"description": "Suggested file name.", "schema": {"type": "string"}},
                "Raidhall-Lineage": {
                    "description": "Id of the database's history, to which the ids of the stream belong.",
                    "schema": {"type": "string"},
                },
                "Retry-After": integer_header("Seconds to wait before a retry."),
                "X-RateLimit-Limit": integer_header("Number of requests that the tightest applicable rate limit allows."),
                "X-RateLimit-Remaining": integer_header("Number of requests that remain under that limit."),
                "X-RateLimit-Reset": integer_header("Seconds until the whole allowance is available again."),
            },
            "responses": refusals,
            "schemas": schemas.into_definitions(),
        },
    })
}

#[test]
fn the_openapi_document_matches_the_code() {
    check_or_update_document("openapi.json", &document());
}

#[test]
fn openapi_examples_match_their_schemas() {
    let document = document();
    let mut count = 0;
    let mut check = |what: &str, media: &Value| {
        if let Some(example) = media.get("example") {
            let faults = schema::validation_errors(&document, &media["schema"], example);
            assert!(faults.is_empty(), "{what}: {faults:#?}");
            count += 1;
        }
    };
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let body = &operation["requestBody"]["content"]["application/json"];
            if !body.is_null() {
                check(&format!("the body of {method} {path}"), body);
            }
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let response = match response["$ref"].as_str() {
                    Some(at) => document.pointer(&at[1..]).expect("a shared response"),
                    None => response,
                };
                for media in response["content"].as_object().expect("content").values() {
                    check(&format!("{status} of {method} {path}"), media);
                }
            }
        }
    }
    assert!(count > 100, "{count} examples");
}

#[test]
fn the_openapi_document_describes_exactly_the_served_routes() {
    let described: BTreeSet<_> = operations::all_operations(&mut Schemas::new())
        .iter()
        .filter(|operation| full_path(operation).starts_with("/api"))
        .map(|operation| format!("{} {}", operation.method, operation.path))
        .collect();
    let served = routes::registered_routes();
    let missing: Vec<_> = served.difference(&described).collect();
    assert!(
        missing.is_empty(),
        "describe these in tests/contract/operations.rs: {missing:?}"
    );
    let gone: Vec<_> = described.difference(&served).collect();
    assert!(
        gone.is_empty(),
        "tests/contract/operations.rs describes routes that are not served: {gone:?}"
    );
}
