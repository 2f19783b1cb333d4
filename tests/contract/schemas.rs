//! JSON Schemas of the contract's types, each under its name in one place of the document.

use schemars::JsonSchema;
use schemars::generate::{Contract, SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

/// Where a document keeps its schemas.
pub const HOME: &str = "/components/schemas";

pub struct Schemas {
    /// Of what the server reads: what may be absent is not required.
    read: SchemaGenerator,
    /// Of what it writes: nothing is ever absent.
    written: SchemaGenerator,
}

impl Schemas {
    pub fn new() -> Schemas {
        let generator = |contract| {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = HOME.into();
            settings.meta_schema = None;
            settings.contract = contract;
            settings.into_generator()
        };
        Schemas {
            read: generator(Contract::Deserialize),
            written: generator(Contract::Serialize),
        }
    }

    /// Of what a client sends.
    pub fn read<T: JsonSchema>(&mut self) -> Value {
        self.read.subschema_for::<T>().to_value()
    }

    /// Of what a client gets.
    pub fn written<T: JsonSchema>(&mut self) -> Value {
        self.written.subschema_for::<T>().to_value()
    }

    /// All that were asked for, and what they are made of.
    pub fn all(mut self) -> Value {
        let mut all = Map::new();
        for (name, schema) in self
            .read
            .take_definitions(true)
            .into_iter()
            .chain(self.written.take_definitions(true))
        {
            let former = all.insert(name.clone(), tidy(schema.clone()));
            assert!(
                former.is_none_or(|former| former == tidy(schema)),
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
fn tidy(mut schema: Value) -> Value {
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
                .for_each(|value| *value = tidy(value.take()));
        }
        Value::Array(list) => list
            .iter_mut()
            .for_each(|value| *value = tidy(value.take())),
        _ => {}
    }
    schema
}
