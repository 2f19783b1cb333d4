//! The faults of a configuration, and the sources of its values.

use std::fmt;
use std::path::PathBuf;

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueSource {
    /// The default in the built-in `config/default.toml`.
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

/// A fault in a configuration. Never contains a secret or a URL's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The dotted key, such as `server.listen`; empty if a whole source cannot be read.
    pub key: String,
    /// The source of the value or of the unknown key.
    pub source: ValueSource,
    /// A description of the fault and of what would be right, for the operator.
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

/// All faults of a configuration; never empty when returned as an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Returns the faults: first those of sources and keys, then of single values, then of values
    /// that contradict each other.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

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

    /// Whether there is a fault of this key.
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
