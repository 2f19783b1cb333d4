//! The environment as a layer of the configuration: `RAIDHALL__SECTION__KEY`, and the few variables
//! that hosting platforms set.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use figment::value::Value;

use super::effective::is_secret;
use super::fault::{ConfigErrors, ValueSource};
use super::settings::Settings;

/// The prefix of Raidhall's own variables. With one underscore it would match the variables that
/// Kubernetes sets for a service called raidhall.
const PREFIX: &str = "RAIDHALL__";

/// The variables that hosting platforms set, and their keys. An empty variable counts as not set.
const CONVENTIONAL: &[(&str, &str)] = &[
    ("DATABASE_URL", "database.url"),
    ("REDIS_URL", "bus.url"),
    ("RUST_LOG", "telemetry.log"),
];

/// Returns the environment of this process, for [`Config::load`](super::Config::load). Variables
/// whose name is not UTF-8 are left out. In values, bytes that are not UTF-8 become U+FFFD, which
/// loading refuses.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((
            name.into_string().ok()?,
            value.to_string_lossy().into_owned(),
        ))
    };
    std::env::vars_os().filter_map(utf8)
}

/// Merges the environment over `settings`: first the conventional variables, then Raidhall's own.
pub(super) fn merge_environment(
    settings: &mut Settings,
    env: impl Iterator<Item = (String, String)>,
    faults: &mut ConfigErrors,
) {
    // Sorted, so that the order of faults is stable.
    let env: BTreeMap<String, String> = env.collect();
    if let Some(port) = env.get("PORT").filter(|port| !port.is_empty()) {
        merge_port(
            settings,
            port,
            env.contains_key("RAIDHALL__SERVER__LISTEN"),
            faults,
        );
    }
    for (name, key) in CONVENTIONAL {
        if let Some(text) = env.get(*name).filter(|text| !text.is_empty()) {
            set_from_text(settings, key, name, text, faults);
        }
    }
    for (name, text) in &env {
        let Some(path) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let key = path.to_ascii_lowercase().replace("__", ".");
        match key.strip_suffix("_file").filter(|key| is_secret(key)) {
            Some(key) => merge_secret_file(settings, &env, key, name, text, faults),
            None => set_from_text(settings, &key, name, text, faults),
        }
    }
}

/// Merges a secret from the file that `RAIDHALL__SECTION__KEY_FILE` names, as Docker and Kubernetes
/// mount them.
fn merge_secret_file(
    settings: &mut Settings,
    env: &BTreeMap<String, String>,
    key: &str,
    name: &str,
    path: &str,
    faults: &mut ConfigErrors,
) {
    let source = ValueSource::Env(name.to_owned());
    if env.contains_key(name.trim_end_matches("_FILE")) {
        return faults.push(
            key,
            source,
            "is set beside the same name without _FILE: set one of them",
        );
    }
    match std::fs::read_to_string(path) {
        Ok(text) => set_from_text(
            settings,
            key,
            name,
            text.trim_end_matches(['\r', '\n']),
            faults,
        ),
        Err(error) => faults.push(
            key,
            source,
            format!("the file {path} cannot be read: {error}"),
        ),
    }
}

fn set_from_text(
    settings: &mut Settings,
    key: &str,
    name: &str,
    text: &str,
    faults: &mut ConfigErrors,
) {
    let source = ValueSource::Env(name.to_owned());
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return faults.push(key, source, "is not UTF-8");
    }
    let value = settings
        .default_value(key)
        .map_or_else(|| text.into(), |default| coerce_to_type(text, default));
    settings.set(key, value, source, faults);
}

/// Converts `text` to the type of `default`. Text that cannot be converted stays text, and the type
/// check reports it later. A secret that consists of digits stays text, because its default is
/// text.
fn coerce_to_type(text: &str, default: &Value) -> Value {
    let number = || text.trim().parse::<i64>().map(Value::from).ok();
    let boolean = || text.trim().parse::<bool>().map(Value::from).ok();
    match default {
        Value::Num(..) => number(),
        Value::Bool(..) => boolean(),
        Value::Array(..) => Some(parse_list(text)),
        _ => None,
    }
    .unwrap_or_else(|| text.into())
}

fn parse_list(text: &str) -> Value {
    match text.trim() {
        bracketed if bracketed.starts_with('[') => bracketed
            .parse()
            .expect("parsing a figment value never fails"),
        plain => {
            let items = plain
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            Value::from(items.map(Value::from).collect::<Vec<_>>())
        }
    }
}

/// Merges `PORT` into `server.listen`: it replaces the port, and the address becomes 0.0.0.0 if it
/// is the default.
fn merge_port(settings: &mut Settings, port: &str, overridden: bool, faults: &mut ConfigErrors) {
    let key = "server.listen";
    let source = ValueSource::Env("PORT".to_owned());
    if overridden {
        return;
    }
    let Ok(port) = port.trim().parse::<u16>() else {
        return faults.push(
            key,
            source,
            format!("expected a port, 0 to 65535, found {port:?}"),
        );
    };
    let listen = settings.get(key).expect("there is such a key");
    let host = match listen.source {
        ValueSource::Default => Some(Ipv4Addr::UNSPECIFIED.into()),
        _ => listen
            .value
            .as_str()
            .and_then(|text| text.parse::<SocketAddr>().ok())
            .map(|address| address.ip()),
    };
    // Without a host the file's own value is the fault, and stays so that it is reported.
    if let Some(host) = host {
        settings.set(
            key,
            SocketAddr::new(host, port).to_string().into(),
            source,
            faults,
        );
    }
}
