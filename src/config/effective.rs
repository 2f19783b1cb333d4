//! The effective configuration: all layers merged and checked, with the source of each value.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use figment::error::{Actual, Kind};
use figment::value::Value;

use super::fault::{ConfigError, ConfigErrors, ValueSource};
use super::settings::{DEFAULTS, SectionError, Settings, SourcedValue};
use super::{Config, environment, production, ranges, relations};
use crate::redact::{REDACTED, redact_http_url, redact_url};

/// A checked configuration and the source of each of its values.
///
/// `Display` and `Debug` write it as TOML in the order of `config/default.toml`, with the source of
/// each value and without secrets.
pub struct EffectiveConfig {
    pub config: Config,
    settings: Settings,
}

impl EffectiveConfig {
    /// Loads the configuration as [`Config::load`] does, and keeps the source of each value.
    ///
    /// # Errors
    ///
    /// Fails as [`Config::load`] does.
    pub fn load<'a>(
        files: impl IntoIterator<Item = &'a Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let mut faults = ConfigErrors::default();
        let mut settings = Settings::defaults();
        for file in files {
            settings.merge_file(file, &mut faults);
        }
        environment::merge_environment(&mut settings, env, &mut faults);
        check_ranges(&mut settings, &mut faults);
        let config = deserialize_config(&mut settings, &mut faults);
        check_constraints(&config, &settings, &mut faults);
        production::check_production(&config, &settings, &mut faults);
        config.progression.check(&mut faults);
        if faults.is_empty() {
            Ok(Self { config, settings })
        } else {
            Err(faults)
        }
    }
}

fn check_ranges(settings: &mut Settings, faults: &mut ConfigErrors) {
    let fault = |(key, setting): (&str, &SourcedValue)| {
        let message = ranges::range_error(key, &setting.value)?;
        Some(ConfigError {
            key: key.to_owned(),
            source: setting.source.clone(),
            message,
        })
    };
    let found: Vec<_> = settings.iter().filter_map(fault).collect();
    for ConfigError {
        key,
        source,
        message,
    } in found
    {
        settings.reset(&key);
        faults.push(key, source, message);
    }
}

/// Reads the options of all components, whose types are the schema. Serde stops at the first value
/// of a wrong type; that value becomes a fault, is replaced by its default, and the rest is tried
/// again. This ends because each round replaces a value and the defaults have the right types.
fn deserialize_config(settings: &mut Settings, faults: &mut ConfigErrors) -> Config {
    let mut mismatches = BTreeMap::new();
    let config = loop {
        let SectionError { key, error } = match Config::from_settings(settings) {
            Ok(config) => break config,
            Err(error) => error,
        };
        let source = settings.get(&key).map(|setting| setting.source.clone());
        let Some(source) = source.filter(|source| *source != ValueSource::Default) else {
            unreachable!("a test loads the built-in defaults, but: {error}");
        };
        settings.reset(&key);
        let message = describe_mismatch(&error.kind, is_secret(&key));
        mismatches.insert(key, (source, message));
    };
    for (key, (source, message)) in mismatches {
        faults.push(key, source, message);
    }
    config
}

fn check_constraints(config: &Config, settings: &Settings, faults: &mut ConfigErrors) {
    for relation in relations::RELATIONS {
        if relation.keys.iter().any(|key| faults.has_error_for(key)) || (relation.holds)(config) {
            continue;
        }
        let involved = relation
            .keys
            .iter()
            .filter_map(|key| Some((*key, settings.get(key)?)));
        let involved: Vec<_> = involved.collect();
        // Of the values that contradict each other, report the first one that is not a default.
        let blamed = involved
            .iter()
            .find(|(_, setting)| setting.source != ValueSource::Default);
        let (key, setting) = blamed.unwrap_or(&involved[0]);
        let values: Vec<_> = involved
            .iter()
            .filter(|(key, _)| !is_secret(key))
            .map(describe_setting)
            .collect();
        let message = match values.as_slice() {
            [] => relation.must.to_owned(),
            values => format!("{}; now {}", relation.must, values.join(", ")),
        };
        faults.push(*key, setting.source.clone(), message);
    }
}

fn describe_setting((key, setting): &(&str, &SourcedValue)) -> String {
    format!(
        "{key} = {} ({})",
        format_redacted(key, &setting.value),
        setting.source
    )
}

/// Describes a type mismatch for an operator, without showing the value of a secret.
fn describe_mismatch(kind: &Kind, secret: bool) -> String {
    match kind {
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            let expected = match expected.as_str() {
                "u8" | "u16" | "u32" | "u64" | "usize" | "a nonzero u32" => "a whole number",
                "a boolean" => "true or false",
                "a sequence" => "a list",
                other => other,
            };
            match found {
                found if !secret => format!("expected {expected}, found {found}"),
                Actual::Seq | Actual::Map => format!("expected {expected}, found {found}"),
                _ => format!("expected {expected}, found another type (not shown)"),
            }
        }
        Kind::UnknownVariant(found, expected) => {
            format!("expected {}, found {found:?}", expected.join(" or "))
        }
        other => other.to_string(),
    }
}

/// The keys whose whole value is a credential.
const SECRETS: [&str; 3] = [
    "auth.secret",
    "auth.accepted_secret",
    "auth.telegram_bot_token",
];

/// The sub-keys of `webhooks.endpoints` whose whole value is a credential.
const SECRETS_IN_LISTS: [&str; 2] = ["secret", "previous_secret"];

/// The keys whose value is a URL, which may contain a credential. `url` is a sub-key of
/// `webhooks.endpoints`, and `jwks` one of `auth.issuers`.
const SERVICE_URLS: [&str; 2] = ["database.url", "bus.url"];

/// Keys with an HTTP URL, whose path and query may hold a credential.
const HTTP_URLS: [&str; 3] = ["telemetry.otlp_endpoint", "url", "jwks"];

/// Whether the value of a key is a credential or contains one.
pub(super) fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key) || matches!(key, "database.url" | "bus.url" | "webhooks.endpoints")
}

/// Formats a value as TOML, without credentials.
fn format_redacted(key: &str, value: &Value) -> String {
    match (key, value) {
        (key, Value::String(_, text))
            if !text.is_empty() && (SECRETS.contains(&key) || SECRETS_IN_LISTS.contains(&key)) =>
        {
            format!("{REDACTED:?}")
        }
        (key, Value::String(_, url)) if SERVICE_URLS.contains(&key) => {
            format!("{:?}", redact_url(url))
        }
        (key, Value::String(_, url)) if HTTP_URLS.contains(&key) => {
            format!("{:?}", redact_http_url(url))
        }
        (_, Value::String(_, text)) => format!("{text:?}"),
        (_, Value::Bool(_, flag)) => flag.to_string(),
        (_, Value::Array(_, items)) => {
            let items: Vec<_> = items
                .iter()
                .map(|item| format_redacted(key, item))
                .collect();
            format!("[{}]", items.join(", "))
        }
        (_, Value::Dict(_, fields)) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, item)| format!("{name} = {}", format_redacted(name, item)))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
        (_, value) => value
            .to_i128()
            .map_or_else(String::new, |number| number.to_string()),
    }
}

impl fmt::Display for EffectiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for line in DEFAULTS.lines() {
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'))
            {
                let gap = if section.is_empty() { "" } else { "\n" };
                section = name;
                writeln!(f, "{gap}[{section}]")?;
            } else if let Some((name, _)) =
                line.split_once(" = ").filter(|_| !line.starts_with('#'))
            {
                let key = format!("{section}.{name}");
                let Some(setting) = self.settings.get(&key) else {
                    continue;
                };
                writeln!(
                    f,
                    "{name} = {}  # {}",
                    format_redacted(&key, &setting.value),
                    setting.source
                )?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for EffectiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
