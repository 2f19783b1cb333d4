//! The JSON Schemas of the contract's types, each under its name in the schemas of the document.

use schemars::JsonSchema;
use schemars::generate::{Contract, SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

/// The JSON pointer to the schemas of a document.
pub const SCHEMAS_POINTER: &str = "/components/schemas";

pub struct Schemas {
    /// The generator for requests, in which optional fields may be absent.
    requests: SchemaGenerator,
    /// The generator for responses, in which no field is absent.
    responses: SchemaGenerator,
}

impl Schemas {
    pub fn new() -> Schemas {
        let generator = |contract| {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = SCHEMAS_POINTER.into();
            settings.meta_schema = None;
            settings.contract = contract;
            settings.into_generator()
        };
        Schemas {
            requests: generator(Contract::Deserialize),
            responses: generator(Contract::Serialize),
        }
    }

    /// Returns the schema of a type that clients send.
    pub fn request<T: JsonSchema>(&mut self) -> Value {
        self.requests.subschema_for::<T>().to_value()
    }

    /// Returns the schema of a type that clients receive.
    pub fn response<T: JsonSchema>(&mut self) -> Value {
        self.responses.subschema_for::<T>().to_value()
    }

    /// Returns all schemas that were requested, and those that they refer to.
    pub fn into_definitions(mut self) -> Value {
        let mut all = Map::new();
        for (name, schema) in self
            .requests
            .take_definitions(true)
            .into_iter()
            .chain(self.responses.take_definitions(true))
        {
            let former = all.insert(name.clone(), remove_formats(schema.clone()));
            assert!(
                former.is_none_or(|former| former == remove_formats(schema)),
                "{name} is read and written differently"
            );
        }
        Value::Object(all)
    }
}

/// Returns the schema of a map with these fields, all required.
pub fn object(fields: &[(&str, Value)]) -> Value {
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    let fields: Map<_, _> = fields
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    json!({ "type": "object", "required": names, "properties": fields })
}

/// Removes formats such as `uint64`, which add nothing to `minimum` and which validators do not
/// know.
fn remove_formats(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(map) => {
            if map
                .get("format")
                .and_then(Value::as_str)
                .is_some_and(|format| format.contains("int"))
            {
                map.remove("format");
            }
            for value in map.values_mut() {
                *value = remove_formats(value.take());
            }
        }
        Value::Array(list) => {
            for value in list {
                *value = remove_formats(value.take());
            }
        }
        _ => {}
    }
    schema
}
