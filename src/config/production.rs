//! The additional checks of a configuration with `server.profile = "production"`.

use super::fault::{ConfigErrors, ValueSource};
use super::settings::Settings;
use super::{Config, ServerProfile};
use crate::auth::AuthSecret;

/// Words and sequences in secrets that a person made up or copied from a document.
const MADE_UP: &[&str] = &[
    "change", "secret", "password", "passwd", "example", "raidhall", "insecure", "default",
    "12345", "abcde",
];

/// The fewest different bytes that a random secret has: 32 random hexadecimal digits have fewer
/// only once in a million times.
const DIFFERENT_BYTES_MIN: usize = 8;

/// Adds a fault for every setting that is only safe on a developer's machine.
pub(super) fn check_production(config: &Config, settings: &Settings, faults: &mut ConfigErrors) {
    if config.server.profile != ServerProfile::Production {
        return;
    }
    for (key, message) in find_unsafe_settings(config, settings) {
        if !faults.has_error_for(key) {
            let source = settings
                .get(key)
                .map_or(ValueSource::Default, |setting| setting.source.clone());
            faults.push(key, source, message);
        }
    }
}

fn find_unsafe_settings(config: &Config, settings: &Settings) -> Vec<(&'static str, &'static str)> {
    const RANDOM: &str = "must in production be random, for example from `openssl rand -base64 48`: this one is \
                          guessable";
    let auth = &config.auth;
    let guessable = |secret: &Option<AuthSecret>| secret.as_ref().is_some_and(is_guessable);
    let is_guest_default = settings
        .get("auth.guest")
        .is_none_or(|setting| setting.source == ValueSource::Default);
    let rules = [
        (
            auth.secret.is_none(),
            "auth.secret",
            "must be set in production (at least 32 bytes, for example from `openssl rand -base64 48`)",
        ),
        (guessable(&auth.secret), "auth.secret", RANDOM),
        (
            guessable(&auth.accepted_secret),
            "auth.accepted_secret",
            RANDOM,
        ),
        (
            auth.can_guests_sign_in && is_guest_default,
            "auth.guest",
            "must be set in production: true if anyone may sign in with only a name, else false",
        ),
        (
            config.http.allowed_origins.allows_all(),
            "server.allowed_origins",
            "must in production name the origins whose pages may call: \"*\" lets every page act with its visitor's token",
        ),
    ];
    rules
        .into_iter()
        .filter(|(broken, ..)| *broken)
        .map(|(_, key, message)| (key, message))
        .collect()
}

fn is_guessable(secret: &AuthSecret) -> bool {
    let text = String::from_utf8_lossy(secret.expose()).to_ascii_lowercase();
    let different: std::collections::BTreeSet<u8> = text.bytes().collect();
    different.len() < DIFFERENT_BYTES_MIN || MADE_UP.iter().any(|part| text.contains(part))
}
