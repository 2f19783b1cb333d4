//! Reading of a TOML table that finds every fault instead of stopping at the first.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use serde_json::{Map, Value};

/// A table that is being read. A value with a fault is read as zero, or as nothing.
pub(super) struct Table<'a> {
    path: String,
    entries: &'a Map<String, Value>,
    read: Vec<&'a str>,
    faults: Vec<String>,
}

static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

impl<'a> Table<'a> {
    pub(super) fn root(entries: &'a Map<String, Value>) -> Table<'a> {
        Table::at(String::new(), entries)
    }

    fn at(path: String, entries: &'a Map<String, Value>) -> Table<'a> {
        Table {
            path,
            entries,
            read: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Records a fault of a key.
    pub(super) fn fault(&mut self, key: &str, message: &str) {
        let path = self.path_of(key);
        self.faults.push(format!("{path}: {message}"));
    }

    fn path_of(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// Returns the value of a key, which is then known.
    fn get(&mut self, key: &'a str) -> Option<&'a Value> {
        self.read.push(key);
        self.entries.get(key)
    }

    fn required<T>(
        &mut self,
        key: &'a str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(key);
        let found = value.and_then(read);
        match value {
            None => self.fault(key, &format!("is required, {expected}")),
            Some(_) if found.is_none() => self.fault(key, &format!("must be {expected}")),
            Some(_) => {}
        }
        found
    }

    /// Reads a whole number.
    pub(super) fn natural(&mut self, key: &'a str, range: RangeInclusive<u64>) -> u64 {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let read = |value: &Value| value.as_u64().filter(|number| range.contains(number));
        self.required(key, &expected, read).unwrap_or(0)
    }

    /// Reads a text for people.
    pub(super) fn text(&mut self, key: &'a str, chars_max: usize) -> String {
        let expected = format!("a text of 1 to {chars_max} characters on one line");
        let is_text = |text: &&str| {
            (1..=chars_max).contains(&text.chars().count()) && !text.chars().any(char::is_control)
        };
        let read = |value: &'a Value| value.as_str().filter(is_text);
        let text = self.required(key, &expected, read);
        text.unwrap_or_default().to_owned()
    }

    /// Reads a name for programs.
    pub(super) fn name(&mut self, key: &'a str) -> String {
        let expected = format!("a name: {NAME}");
        let read = |value: &'a Value| value.as_str().filter(|name| is_name(name));
        let name = self.required(key, &expected, read);
        name.unwrap_or_default().to_owned()
    }

    /// Reads the tables of a list, at most `max`.
    pub(super) fn list<T>(
        &mut self,
        key: &'a str,
        max: usize,
        mut read: impl FnMut(&mut Table<'a>) -> T,
    ) -> Vec<T> {
        let expected = format!("a list of at most {max} tables");
        let is_list = |items: &&'a Vec<Value>| items.len() <= max;
        let items = self.required(key, &expected, |value| value.as_array().filter(is_list));
        let items = items.map_or(&[][..], Vec::as_slice);
        let path = self.path_of(key);
        let numbered = items.iter().enumerate();
        numbered
            .map(|(index, item)| self.read_table(format!("{path}[{index}]"), item, &mut read))
            .collect()
    }

    /// Reads the tables of a list that may be absent, at most `max`.
    pub(super) fn optional_list<T>(
        &mut self,
        key: &'a str,
        max: usize,
        read: impl FnMut(&mut Table<'a>) -> T,
    ) -> Vec<T> {
        if self.entries.contains_key(key) {
            self.list(key, max, read)
        } else {
            Vec::new()
        }
    }

    /// Reads a table inside this one.
    pub(super) fn table<T>(&mut self, key: &'a str, read: impl FnOnce(&mut Table<'a>) -> T) -> T {
        let value = self.required(key, "a table", |value| value.is_object().then_some(value));
        let path = self.path_of(key);
        self.read_table(path, value.unwrap_or(&Value::Null), read)
    }

    /// Reads a table that may be absent.
    pub(super) fn optional_table<T: Default>(
        &mut self,
        key: &'a str,
        read: impl FnOnce(&mut Table<'a>) -> T,
    ) -> T {
        if self.entries.contains_key(key) {
            self.table(key, read)
        } else {
            T::default()
        }
    }

    /// Returns the keys and values of the table, whatever they are called.
    pub(super) fn entries(&mut self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.read.extend(self.entries.keys().map(String::as_str));
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// Returns the value of a key that may be absent.
    pub(super) fn optional(&mut self, key: &'a str) -> Option<&'a Value> {
        self.get(key)
    }

    fn read_table<T>(
        &mut self,
        path: String,
        value: &'a Value,
        read: impl FnOnce(&mut Table<'a>) -> T,
    ) -> T {
        let entries = value.as_object();
        let mut inner = Table::at(path, entries.unwrap_or(&NOTHING));
        let result = read(&mut inner);
        // A value that is no table has one fault, not those of its keys.
        match entries {
            Some(_) => self.faults.extend(inner.finish()),
            None if value.is_null() => {}
            None => self.faults.push(format!("{}: must be a table", inner.path)),
        }
        result
    }

    /// Returns every fault, with those of unknown keys.
    pub(super) fn finish(mut self) -> Vec<String> {
        for key in self.entries.keys() {
            if !self.read.contains(&key.as_str()) {
                self.fault(key, "is not a known key");
            }
        }
        self.faults
    }
}

/// What names for programs consist of.
pub(super) const NAME: &str = "1 to 64 characters of a-z 0-9 _";

/// Returns whether a text is a name for programs.
pub(super) fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (1..=64).contains(&text.len()) && text.chars().all(is_plain)
}
