//! JSON Schemas of the contract's types, each under its name in one place of the document.

use schemars::JsonSchema;
use schemars::generate::{Contract, SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

/// Where a document keeps its schemas.
pub const SCHEMAS_POINTER: &str = "/components/schemas";

pub struct Schemas {
    /// Of what the server reads: what may be absent is not required.
    requests: SchemaGenerator,
    /// Of what it writes: nothing is ever absent.
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

    /// Of what a client sends.
    pub fn request<T: JsonSchema>(&mut self) -> Value {
        self.requests.subschema_for::<T>().to_value()
    }

    /// Of what a client gets.
    pub fn response<T: JsonSchema>(&mut self) -> Value {
        self.responses.subschema_for::<T>().to_value()
    }

    /// All that were asked for, and what they are made of.
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

/// A map with these fields, all of them there.
pub fn object(fields: &[(&str, Value)]) -> Value {
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    let fields: Map<_, _> = fields
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    json!({ "type": "object", "required": names, "properties": fields })
}

/// Formats such as `uint64` say nothing that `minimum` does not, and no validator knows them.
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
            map.values_mut()
                .for_each(|value| *value = remove_formats(value.take()));
        }
        Value::Array(list) => list
            .iter_mut()
            .for_each(|value| *value = remove_formats(value.take())),
        _ => {}
    }
    schema
}
