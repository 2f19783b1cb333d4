//! Validation of a value against a schema of a document whose shared schemas are in `components`.

use serde_json::Value;

/// Returns the reasons why the value does not match the schema; empty if it matches.
pub fn validation_errors(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    validator
        .iter_errors(value)
        .map(|error| error.to_string())
        .collect()
}
