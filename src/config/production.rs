//! The additional checks of a configuration with `server.profile = "production"`.

use std::net::IpAddr;
use std::str::FromStr;

use axum::http::Uri;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::fault::{ConfigErrors, ValueSource};
use super::settings::Settings;
use super::{BusKind, BusUrl, Config, DatabaseKind, DatabaseUrl, ServerProfile};
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
    let is_default = |key| {
        settings
            .get(key)
            .is_none_or(|setting| setting.source == ValueSource::Default)
    };
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
            auth.can_guests_sign_in && is_default("auth.guest"),
            "auth.guest",
            "must be set in production: true if anyone may sign in with only a name, else false",
        ),
        (
            is_default("database.url"),
            "database.url",
            "must be set in production, as DATABASE_URL or in the file: the default is a SQLite file in the working \
             directory, so each machine would have a database of its own",
        ),
        (
            is_remote_unencrypted_postgres(&config.database.url),
            "database.url",
            "must in production encrypt a connection to another machine: append ?sslmode=verify-full, or \
             ?sslmode=require to accept any certificate",
        ),
        (
            is_remote_unencrypted_redis(&config.bus.url),
            "bus.url",
            "must in production encrypt a connection to another machine: rediss://HOST:PORT",
        ),
        (
            config.server.advertised_url.as_ref().is_some_and(|url| {
                url.as_str().starts_with("http://") && !is_loopback_url(url.as_str())
            }),
            "server.advertised_url",
            "must in production begin with https://: clients send their tokens to it",
        ),
        (
            config.http.trusted_proxies.has_wide_network(),
            "server.trusted_proxies",
            "must in production name no network larger than /8 (IPv4) or /7 (IPv6): any machine in it can claim any \
             client address",
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

fn is_remote_unencrypted_postgres(url: &DatabaseUrl) -> bool {
    if url.kind() != DatabaseKind::Postgres {
        return false;
    }
    let options = PgConnectOptions::from_str(url.expose()).expect("checked when it was parsed");
    let is_local = options.get_socket().is_some()
        || options.get_host().starts_with('/')
        || is_loopback(options.get_host());
    let may_be_unencrypted = matches!(
        options.get_ssl_mode(),
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer
    );
    !is_local && may_be_unencrypted
}

fn is_remote_unencrypted_redis(url: &BusUrl) -> bool {
    url.kind() == BusKind::Redis && !url.is_encrypted() && !is_loopback_url(url.expose())
}

fn is_loopback_url(url: &str) -> bool {
    Uri::from_str(url).is_ok_and(|uri| uri.host().is_some_and(is_loopback))
}

/// Returns whether a host name or address is this machine.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn is_guessable(secret: &AuthSecret) -> bool {
    let text = String::from_utf8_lossy(secret.expose()).to_ascii_lowercase();
    let different: std::collections::BTreeSet<u8> = text.bytes().collect();
    different.len() < DIFFERENT_BYTES_MIN || MADE_UP.iter().any(|part| text.contains(part))
}
