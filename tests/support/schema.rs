//! Holding a value against a schema of a document that keeps its shared schemas in `components`.

use serde_json::Value;

/// What is wrong with it.
pub fn validation_errors(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut schema = schema.clone();
    schema["components"] = document["components"].clone();
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    validator
        .iter_errors(value)
        .map(|error| error.to_string())
        .collect()
}
