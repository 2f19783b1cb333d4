//! Tests of the configuration, one module per theme; this file holds their shared helpers.

mod contradictions;
mod faults;
mod keys;
mod layers;
mod lists;
mod secrets;

use std::io::Write;
use std::time::Duration;

use tempfile::NamedTempFile;

use super::settings::{DEFAULTS, Settings};
use super::*;
use crate::telemetry::LogFormat;

const KEY: &str = "0123456789abcdef0123456789abcdef";
/// A secret that is random enough for production.
const RANDOM: &str = "cK9pEmsZkqYfC0rj5nNUu2wVbGQ8xLt4";

fn write_config_file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

fn environment(vars: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    vars.iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect::<Vec<_>>()
        .into_iter()
}

fn load(text: &str, vars: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    Config::load(Some(write_config_file(text).path()), environment(vars))
}

fn load_from_env(vars: &[(&str, &str)]) -> Config {
    Config::load(None, environment(vars)).expect("no faults")
}

/// Returns the faults of a file and an environment as `key source message`; the path of the file is
/// written `file`.
fn load_errors(text: &str, vars: &[(&str, &str)]) -> Vec<String> {
    let file = write_config_file(text);
    let faults = Config::load(Some(file.path()), environment(vars)).expect_err("faults");
    let path = file.path().display().to_string();
    let line = |fault: &ConfigError| {
        format!("{} {} {}", fault.key, fault.source, fault.message).replace(&path, "file")
    };
    faults.iter().map(line).collect()
}

/// Asserts that there is exactly one fault, which begins with `begins` and contains `contains`.
#[track_caller]
fn assert_one_error(text: &str, vars: &[(&str, &str)], begins: &str, contains: &str) {
    let faults = load_errors(text, vars);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(
        faults[0].starts_with(begins) && faults[0].contains(contains),
        "{faults:#?}"
    );
}
