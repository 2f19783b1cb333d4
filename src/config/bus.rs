//! Section `[bus]`: the bus between instances.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use axum::http::Uri;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::redact::redact_url;

/// The options of the bus between instances.
#[derive(Debug, Clone, Deserialize)]
pub struct BusConfig {
    /// The bus's kind and address.
    pub url: BusUrl,
    /// Whether the URL names a node of a Redis Cluster.
    pub cluster: bool,
    /// A PEM file with the only certificate authorities that are trusted for a `rediss://` server;
    /// `None` for the system's.
    #[serde(deserialize_with = "optional_path")]
    pub ca_file: Option<PathBuf>,
}

/// The kinds of bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusKind {
    /// No bus: only one instance serves the database.
    Local,
    /// Redis pub/sub: any number of instances serve the database together.
    Redis,
}

/// The validated URL of a bus. `Debug` and `Display` hide its password.
#[derive(Clone, PartialEq, Eq)]
pub struct BusUrl {
    kind: BusKind,
    url: String,
}

impl BusUrl {
    /// Returns the kind of bus that the URL names.
    pub fn kind(&self) -> BusKind {
        self.kind
    }

    /// Returns the URL with its password, for the driver only; `local` if there is no bus.
    pub fn expose(&self) -> &str {
        &self.url
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.url.starts_with("rediss:")
    }

    /// Returns the database number in the URL's path, if there is one.
    pub(super) fn redis_database(&self) -> Option<&str> {
        let (_, after_scheme) = self.url.split_once("://")?;
        after_scheme
            .split_once('/')
            .map(|(_, path)| path)
            .filter(|path| !path.is_empty())
    }
}

impl FromStr for BusUrl {
    type Err = &'static str;

    /// Parses a URL. The error contains no part of it, since any part may be secret.
    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let kind = match url.split_once("://") {
            None if url == "local" => Ok(BusKind::Local),
            Some(("redis" | "rediss", _)) => redis_url_error(url).map_or(Ok(BusKind::Redis), Err),
            _ => {
                Err("expected \"local\", redis://USER:PASSWORD@HOST:PORT or, encrypted, rediss://…")
            }
        };
        Ok(Self {
            kind: kind?,
            url: url.to_owned(),
        })
    }
}

/// Returns what is wrong with a Redis URL. Queries and fragments are refused: drivers read options
/// from them, one of which turns off the verification of certificates.
fn redis_url_error(url: &str) -> Option<&'static str> {
    if url.contains(['?', '#']) {
        return Some(
            "takes neither query nor fragment (in a password they are written %3F and %23)",
        );
    }
    let Ok(uri) = Uri::from_str(url) else {
        return Some("not a URL (special characters in a password are percent-encoded)");
    };
    let Some(authority) = uri
        .authority()
        .filter(|authority| !authority.host().is_empty())
    else {
        return Some("names no host: expected redis://HOST:PORT");
    };
    let after_host = authority
        .as_str()
        .rsplit_once(authority.host())
        .map_or("", |(_, rest)| rest);
    if after_host
        .strip_prefix(':')
        .is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0))
    {
        return Some("its port is not a number from 1 to 65535");
    }
    match uri.path().trim_start_matches('/') {
        "" => None,
        database if database.parse::<u32>().is_ok() => None,
        _ => Some("its path is not the number of a database"),
    }
}

impl fmt::Display for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_url(&self.url))
    }
}

impl fmt::Debug for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BusUrl({self})")
    }
}

impl<'de> Deserialize<'de> for BusUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// Reads a path; an empty one counts as none.
pub(super) fn optional_path<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok((!text.is_empty()).then(|| text.into()))
}
