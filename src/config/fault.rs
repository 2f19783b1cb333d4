//! What is wrong with a configuration, and where it came from.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueSource {
    /// The built-in `config/default.toml`.
    Default,
    /// The file named by `--config`.
    File(PathBuf),
    /// The environment variable of this name.
    Env(String),
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Env(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong. Never holds a secret, nor a URL's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The dotted key, such as `server.listen`; empty if the source as a whole cannot be read.
    pub key: String,
    /// Where the value, or the unknown key, was found.
    pub source: ValueSource,
    /// What is wrong with it and what would be right.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.source, self.message),
            key => write!(f, "{key} ({}): {}", self.source, self.message),
        }
    }
}

/// Everything that is wrong with a configuration; never empty when returned as an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The faults: first what is wrong with sources and keys, then with single values, then between values.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(
        &mut self,
        key: impl Into<String>,
        source: ValueSource,
        message: impl Into<String>,
    ) {
        self.0.push(ConfigError {
            key: key.into(),
            source,
            message: message.into(),
        });
    }

    /// Whether `key`'s own value is among them.
    pub(super) fn has_error_for(&self, key: &str) -> bool {
        self.0.iter().any(|fault| fault.key == key)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.len() == 1 { "fault" } else { "faults" };
        write!(f, "{} {noun} in the configuration:", self.len())?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for ConfigErrors {}
