//! The AsyncAPI document, which describes the WebSocket.

use std::path::Path;

use raidhall_protocol::limits::{SOCKET_PATH, SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK};
use raidhall_protocol::{ClientMessage, CloseCode, ServerMessage};
use serde_json::{Map, Value, json};

use super::schemas::Schemas;
use super::{check_or_update_document, schema};

const DESCRIPTION: &str = "The WebSocket API of Raidhall. A client watches raids and sends \
                           commands over one connection. Every message is one frame: a JSON \
                           object in a text frame with the subprotocol `raidhall.v1.json`, or \
                           the same map as MessagePack in a binary frame with \
                           `raidhall.v1.msgpack`. The client's first message is `hello`, unless \
                           the upgrade request carried the access token. [An OpenAPI \
                           document](/api/openapi.json) describes the REST API.";

fn document() -> Value {
    let mut schemas = Schemas::new();
    let client = schemas.request::<ClientMessage>();
    let server = schemas.response::<ServerMessage>();
    let mut schemas = schemas.into_definitions();
    let from_client = message_variants(&mut schemas, &client);
    let from_server = message_variants(&mut schemas, &server);
    let mut messages = Map::new();
    for (direction, parts) in [("client", &from_client), ("server", &from_server)] {
        for (t, payload) in parts {
            messages.insert(format!("{direction}.{t}"), message(direction, t, payload));
        }
    }
    let references = |direction: &str, parts: &Map<String, Value>, home: &str| {
        let reference = |t: &String| json!({"$ref": format!("{home}/{direction}.{t}")});
        parts.keys().map(reference).collect::<Vec<_>>()
    };
    let in_channel: Map<_, _> = messages
        .keys()
        .map(|name| {
            (
                name.clone(),
                json!({"$ref": format!("#/components/messages/{name}")}),
            )
        })
        .collect();
    let home = "#/channels/socket/messages";
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Raidhall",
            "version": "1",
            "description": format!("{DESCRIPTION}\n\n{}", close_codes()),
            "license": {"name": "Apache License 2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {"socket": {
            "address": SOCKET_PATH,
            "description": "The WebSocket connection of a client.",
            "messages": in_channel,
            "bindings": {"ws": {
                "method": "GET",
                "headers": {"type": "object", "properties": {
                    "Sec-WebSocket-Protocol": {"type": "string", "enum": [SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK]},
                    "Authorization": {"type": "string", "description": "`Bearer` followed by an access token; replaces `hello`."},
                }},
            }},
        }},
        "operations": {
            "ask": {
                "action": "receive",
                "channel": {"$ref": "#/channels/socket"},
                "summary": "Messages from the client",
                "messages": references("client", &from_client, home),
            },
            "tell": {
                "action": "send",
                "channel": {"$ref": "#/channels/socket"},
                "summary": "Messages from the server",
                "messages": references("server", &from_server, home),
            },
        },
        "components": {"messages": messages, "schemas": schemas},
    })
}

/// Removes the schema of a message enum, and returns its variants by their `t`.
fn message_variants(schemas: &mut Value, whole: &Value) -> Map<String, Value> {
    let name = whole["$ref"]
        .as_str()
        .and_then(|at| at.rsplit('/').next())
        .expect("a reference")
        .to_owned();
    let schema = schemas
        .as_object_mut()
        .expect("a map")
        .remove(&name)
        .expect("the message");
    list_variants(schemas, &schema)
}

/// Returns the variants of a message's schema by their `t`. Those about the player's stream have an
/// enum of their own; their names end with `_me`.
fn list_variants(schemas: &mut Value, schema: &Value) -> Map<String, Value> {
    let variants = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
    let mut messages = Map::new();
    for variant in variants.expect("variants") {
        if variant["$ref"].is_string() {
            let about_player = message_variants(schemas, variant);
            messages.extend(
                about_player
                    .into_iter()
                    .map(|(t, it)| (format!("{t}_me"), it)),
            );
        } else if variant["properties"]["t"].is_object() {
            messages.insert(
                json_text(&variant["properties"]["t"]["const"]),
                variant.clone(),
            );
        } else {
            messages.extend(list_variants(schemas, variant));
        }
    }
    messages
}

fn json_text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn message(direction: &str, name: &str, payload: &Value) -> Value {
    let t = name.strip_suffix("_me").unwrap_or(name);
    let summary = payload
        .get("description")
        .cloned()
        .unwrap_or_else(|| json!(t));
    json!({
        "name": t,
        "title": t,
        "summary": summary,
        "payload": payload,
        "examples": message_examples(direction, t, t != name).iter().map(|(name, example)| json!({"name": name, "payload": example})).collect::<Vec<_>>(),
    })
}

/// Returns the golden fixtures of a message about a player's stream or about anything else, by name.
fn message_examples(direction: &str, t: &str, about_player: bool) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("protocol/fixtures")
        .join(direction);
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).expect("fixtures") {
        let path = file.expect("a file").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let example: Value =
                serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
            let name = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .expect("a name")
                .to_owned();
            // Messages out of range are well-typed but refused by the rules, so they are not
            // used as examples.
            let names_player = example["player"].is_number() || example["player"].is_string();
            let is_about_player = names_player && example.get("raid").is_none();
            if example["t"] == t
                && is_about_player == about_player
                && !name.contains("out_of_range")
            {
                found.push((name, example));
            }
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

fn close_codes() -> String {
    let rows = CloseCode::ALL.map(|code| format!("| {} | `{}` |", code.code(), code.as_str()));
    format!(
        "Close codes 40xx: do not reconnect (after 4001, only with a new token); 41xx: \
         back off before reconnecting; 42xx: reconnect and resume.\n\n\
         | close code | name |\n|---|---|\n{}",
        rows.join("\n")
    )
}

#[test]
fn the_asyncapi_document_matches_the_code() {
    check_or_update_document("asyncapi.json", &document());
}

#[test]
fn every_fixture_matches_its_message_schema() {
    let document = document();
    let mut count = 0;
    for (name, message) in document["components"]["messages"]
        .as_object()
        .expect("messages")
    {
        let examples = message["examples"].as_array().expect("examples");
        assert!(!examples.is_empty(), "{name} has no fixture");
        for example in examples {
            let faults =
                schema::validation_errors(&document, &message["payload"], &example["payload"]);
            assert!(faults.is_empty(), "{}: {faults:#?}", example["name"]);
            count += 1;
        }
    }
    assert!(count > 60, "{count} fixtures");
}
