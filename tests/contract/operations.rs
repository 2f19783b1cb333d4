//! All operations of the REST API. A test fails if the server has an operation that this list
//! lacks, or the reverse.

mod backend;
mod boards;
mod operators;
mod players;
mod profiles;
mod raids;
mod sign_ins;

use raidhall_protocol::ErrorType::{NotFound, Overloaded};
use raidhall_protocol::OpKey;
use raidhall_protocol::limits::NAME_CHARS_MAX;
use raidhall_protocol::state::RaidStatus;
use raidhall_protocol::text::{NAME, TEXT_OR_NONE};
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::examples;
use super::operation::Operation;
use super::schemas::Schemas;

pub fn all_operations(schemas: &mut Schemas) -> Vec<Operation> {
    [
        sign_ins::operations(schemas),
        players::operations(schemas),
        profiles::operations(schemas),
        boards::operations(schemas),
        raids::operations(schemas),
        backend::operations(schemas),
        operators::operations(schemas),
        operators::health_operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn player_name() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX, "pattern": NAME})
}

fn seq() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64})
}

fn id() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 9_007_199_254_740_991_u64})
}

fn cursor() -> Value {
    // A raid's id as eight bytes in URL-safe Base64; no raid has the id 0.
    json!({
        "type": "string",
        "pattern": "^A[AB][A-Za-z0-9_-]{8}[AEIMQUYcgkosw048]$",
        "not": {"const": "AAAAAAAAAAA"},
    })
}

fn status(schemas: &mut Schemas) -> Value {
    schemas.response::<RaidStatus>()
}

fn next_cursor() -> Value {
    json!({"type": ["string", "null"], "description": "Value to pass as `cursor` for the next page; null on the last page."})
}

/// Returns the schema of a map that has exactly one of two text fields.
fn either_key(one: &str, other: &str) -> Value {
    let only = |name: &str| json!({"required": [name], "properties": {name: {"type": "string"}}});
    let maybe = || json!({"type": ["string", "null"]});
    json!({"type": "object", "properties": {one: maybe(), other: maybe()}, "oneOf": [only(one), only(other)]})
}

/// Returns the schema of a text without control characters.
fn printable_text() -> Value {
    json!({"type": "string", "pattern": TEXT_OR_NONE})
}

/// Returns the schema of the body of a command.
fn command_with_op<C: JsonSchema>(schemas: &mut Schemas) -> Value {
    json!({
        "type": "object",
        "required": ["cmd"],
        "properties": {"op": schemas.request::<Option<OpKey>>(), "cmd": schemas.request::<C>()},
    })
}

impl Operation {
    /// Makes the operation one that streams events and can be resumed.
    fn streams(self) -> Self {
        let text = || json!({"type": "string"});
        let event = json!({
            "type": "object",
            "required": ["event", "data"],
            "properties": {"event": text(), "data": text(), "id": text(), "retry": {"type": ["integer", "string"]}},
            "description": "An event of the stream; `data` is the same message as on the WebSocket, as JSON on one line.",
        });
        self.query("since", "Newest seq that the client holds.", seq())
            .query(
                "lineage",
                "`Raidhall-Lineage` of the stream that the seq comes from; if it is not the \
                 current one, the seq is ignored.",
                printable_text(),
            )
            .header(
                "Last-Event-ID",
                "Newest seq that the client holds; takes precedence over `since`.",
                seq(),
            )
            .fails_with(&[NotFound, Overloaded])
            .without_rate_limit()
            .with_header("Raidhall-Lineage")
            .returns_stream(event, examples::stream_event())
    }
}
