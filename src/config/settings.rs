//! The settings: for every key, the value in effect and its source, after all layers have been
//! merged.

use std::collections::BTreeMap;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use figment::{Profile, Provider};
use serde::de::DeserializeOwned;

use super::fault::{ConfigErrors, ValueSource};

/// The text of `config/default.toml`: the documentation and the default of every key.
pub(super) const DEFAULTS: &str = include_str!("../../config/default.toml");

/// The value of a key, and its source.
#[derive(Clone)]
pub(super) struct SourcedValue {
    pub(super) value: Value,
    pub(super) source: ValueSource,
}

/// The error of a value that does not have the type of its key.
#[derive(Debug)]
pub(super) struct SectionError {
    pub(super) key: String,
    pub(super) error: Box<figment::Error>,
}

/// All keys by their dotted names, with their defaults and the values in effect. A later layer
/// replaces values; a list is replaced as a whole.
#[derive(Clone)]
pub(super) struct Settings {
    defaults: BTreeMap<String, Value>,
    current: BTreeMap<String, SourcedValue>,
}

impl Settings {
    /// Returns the built-in defaults, which also define the keys that exist.
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
                SourcedValue {
                    value: value.clone(),
                    source: ValueSource::Default,
                },
            )
        };
        settings.current = settings.defaults.iter().map(setting).collect();
        settings
    }

    /// Merges a file over the settings. Parts that cannot be used become faults; the rest is still
    /// merged.
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

    /// Sets one value; an unknown key becomes a fault.
    pub(super) fn set(
        &mut self,
        key: &str,
        value: Value,
        source: ValueSource,
        faults: &mut ConfigErrors,
    ) {
        match self.current.get_mut(key) {
            Some(setting) => *setting = SourcedValue { value, source },
            None => faults.push(key, source, self.unknown_key_message(key)),
        }
    }

    /// Replaces a faulty value by the default, so that the rest can still be checked.
    pub(super) fn reset(&mut self, key: &str) {
        let value = self.defaults[key].clone();
        self.current.insert(
            key.to_owned(),
            SourcedValue {
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

    /// Returns the setting in effect for `key`.
    pub(super) fn get(&self, key: &str) -> Option<&SourcedValue> {
        self.current.get(key)
    }

    pub(super) fn default_value(&self, key: &str) -> Option<&Value> {
        self.defaults.get(key)
    }

    /// Returns every key and its setting, in alphabetical order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &SourcedValue)> {
        self.current
            .iter()
            .map(|(key, setting)| (key.as_str(), setting))
    }

    /// Reads the options of a component from the keys of these sections, in which no two keys have
    /// the same name. Keys that `T` does not have are ignored.
    ///
    /// # Errors
    ///
    /// Fails at the first value that does not have the type of its key.
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
            // The deeper parts of the path are positions in a list.
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

    /// Whether to descend into a map. Unknown sections are included, so that each of their keys is
    /// reported.
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

/// Parses TOML. The error states the position but quotes no line, since a line may contain a
/// secret.
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
