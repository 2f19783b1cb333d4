//! Deserializers of configuration values, for `#[serde(deserialize_with)]` in a component's
//! options.

use std::net::SocketAddr;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Reads a whole number of milliseconds.
pub fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

/// Reads a whole number of seconds.
pub fn secs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_secs)
}

/// Reads an address to bind.
pub fn listen_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parse_listen_address(&String::deserialize(deserializer)?)
}

/// Reads an address to bind; an empty text means none.
pub fn optional_listen_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "" => Ok(None),
        text => parse_listen_address(text).map(Some),
    }
}

fn parse_listen_address<E: Error>(text: &str) -> Result<SocketAddr, E> {
    let expected = "expected ADDRESS:PORT such as 127.0.0.1:8080 (host names are not resolved)";
    text.parse()
        .map_err(|_| E::custom(format!("{expected}, found {text:?}")))
}
