//! The layers, flattened: for every key the value that is in effect and where it came from.

use std::collections::BTreeMap;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use figment::{Profile, Provider};
use serde::de::DeserializeOwned;

use super::fault::{ConfigErrors, ValueSource};

/// The documentation of every key, and its default.
pub(super) const DEFAULTS: &str = include_str!("../../config/default.toml");

/// A value and where it came from.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) source: ValueSource,
}

/// A value that is not of its key's type.
#[derive(Debug)]
pub(super) struct SectionError {
    pub(super) key: String,
    pub(super) error: Box<figment::Error>,
}

/// Every key there is, by its dotted name, with what is in effect. Later layers replace; a list is replaced whole.
#[derive(Clone)]
pub(super) struct Settings {
    defaults: BTreeMap<String, Value>,
    current: BTreeMap<String, Setting>,
}

impl Settings {
    /// The built-in defaults. They also say which keys there are.
    pub(super) fn defaults() -> Self {
        let mut settings = Self {
            defaults: BTreeMap::new(),
            current: BTreeMap::new(),
        };
        for (section, value) in parse_toml(DEFAULTS).expect("a test parses the built-in defaults") {
            for (key, value) in value.into_dict().expect("every key is in a section") {
                settings.defaults.insert(format!("{section}.{key}"), value);
            }
        }
        let setting = |(key, value): (&String, &Value)| {
            (
                key.clone(),
                Setting {
                    value: value.clone(),
                    source: ValueSource::Default,
                },
            )
        };
        settings.current = settings.defaults.iter().map(setting).collect();
        settings
    }

    /// Lays a file over what there is. What cannot be used in it becomes a fault; the rest is still laid over.
    pub(super) fn merge_file(&mut self, path: &Path, faults: &mut ConfigErrors) {
        let source = ValueSource::File(path.to_owned());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return faults.push("", source, format!("cannot be read: {error}")),
        };
        match parse_toml(&text) {
            Ok(dict) => self.merge_dict("", dict, &source, faults),
            Err(message) => faults.push("", source, message),
        }
    }

    fn merge_dict(
        &mut self,
        prefix: &str,
        dict: Dict,
        source: &ValueSource,
        faults: &mut ConfigErrors,
    ) {
        for (name, value) in dict {
            let key = if prefix.is_empty() {
                name
            } else {
                format!("{prefix}.{name}")
            };
            match value {
                Value::Dict(_, inner) if self.is_table(&key, &inner) => {
                    self.merge_dict(&key, inner, source, faults);
                }
                value => self.set(&key, value, source.clone(), faults),
            }
        }
    }

    /// Lays one value over what there is; an unknown key becomes a fault.
    pub(super) fn set(
        &mut self,
        key: &str,
        value: Value,
        source: ValueSource,
        faults: &mut ConfigErrors,
    ) {
        match self.current.get_mut(key) {
            Some(setting) => *setting = Setting { value, source },
            None => faults.push(key, source, self.unknown_key_message(key)),
        }
    }

    /// Takes a faulty value out of the way, so that the rest can still be judged.
    pub(super) fn reset(&mut self, key: &str) {
        let value = self.defaults[key].clone();
        self.current.insert(
            key.to_owned(),
            Setting {
                value,
                source: ValueSource::Default,
            },
        );
    }

    /// Removes a key and its default.
    #[cfg(test)]
    pub(super) fn remove(&mut self, key: &str) {
        self.current.remove(key);
        self.defaults.remove(key);
    }

    /// What is in effect for `key`.
    pub(super) fn get(&self, key: &str) -> Option<&Setting> {
        self.current.get(key)
    }

    /// The default of `key`.
    pub(super) fn default_value(&self, key: &str) -> Option<&Value> {
        self.defaults.get(key)
    }

    /// Every key and what is in effect, sections and keys in alphabetical order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Setting)> {
        self.current
            .iter()
            .map(|(key, setting)| (key.as_str(), setting))
    }

    /// Reads the options of a component from the keys of these sections, in which no two keys have the same name. Keys
    /// that `T` does not have are ignored.
    ///
    /// # Errors
    ///
    /// The first value that is not of its key's type.
    pub(super) fn read<T: DeserializeOwned>(&self, sections: &[&str]) -> Result<T, SectionError> {
        let in_sections = |key: &str| {
            let (section, name) = key.split_once('.').expect("every key is in a section");
            sections.contains(&section).then(|| name.to_owned())
        };
        let values: Dict = self
            .current
            .iter()
            .filter_map(|(key, setting)| Some((in_sections(key)?, setting.value.clone())))
            .collect();
        T::deserialize(&Value::from(values)).map_err(|error| {
            // Deeper parts of the path are positions in a list.
            let name = error.path.first().cloned().unwrap_or_default();
            let key = self
                .current
                .keys()
                .find(|key| in_sections(key).is_some_and(|found| found == name));
            SectionError {
                key: key.cloned().unwrap_or(name),
                error: Box::new(error),
            }
        })
    }

    /// Whether to look into a map: so that of an unknown section each key is named.
    fn is_table(&self, key: &str, inner: &Dict) -> bool {
        self.is_section(key) || !(inner.is_empty() || self.current.contains_key(key))
    }

    fn is_section(&self, key: &str) -> bool {
        self.keys_in_section(key).next().is_some()
    }

    fn keys_in_section<'a>(&'a self, section: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.defaults.keys().filter_map(|key| key.split_once('.'));
        names
            .filter(move |(of, _)| *of == section)
            .map(|(_, name)| name)
    }

    fn unknown_key_message(&self, key: &str) -> String {
        let section = key.split('.').next().unwrap_or_default();
        if let Some(name) = self.keys_in_section(key).next() {
            return format!("is a section, not a value: set keys in it, such as {key}.{name}");
        }
        if self.is_section(section) {
            let names: Vec<_> = self.keys_in_section(section).collect();
            return format!("unknown key; section {section} has {}", names.join(", "));
        }
        let mut sections: Vec<_> = self
            .defaults
            .keys()
            .filter_map(|key| key.split('.').next())
            .collect();
        sections.dedup();
        format!("unknown key; the sections are {}", sections.join(", "))
    }
}

/// Parses TOML. The error says where, but quotes no line, since it could hold a secret.
fn parse_toml(text: &str) -> Result<Dict, String> {
    let quoted = |line: &&str| {
        line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ')
            .starts_with('|')
    };
    let data = Toml::string(text).data().map_err(|error| {
        let error = error.kind.to_string();
        let lines: Vec<_> = error
            .lines()
            .map(str::trim_end)
            .filter(|line| !quoted(line))
            .collect();
        lines.join("; ")
    })?;
    Ok(data
        .into_iter()
        .find(|(profile, _)| *profile == Profile::Default)
        .map(|(_, dict)| dict)
        .unwrap_or_default())
}
