//! Section `[server]`: the public listener and the URL of this instance.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::http::Uri;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::option_value::listen_address;

/// The options of the public listener and the URL of this instance.
#[derive(Debug, Clone, Deserialize)]
pub struct ServerConfig {
    /// The profile, which decides whether development settings are faults.
    pub profile: ServerProfile,
    /// The address that the public listener binds; port 0 takes any free port.
    #[serde(deserialize_with = "listen_address")]
    pub listen: SocketAddr,
    /// The URL at which clients reach this instance, if it differs from the bound address.
    #[serde(deserialize_with = "advertised_url")]
    pub advertised_url: Option<BaseUrl>,
    /// The configured number of worker threads; 0 leaves it to
    /// [`ServerConfig::worker_thread_count`].
    pub worker_threads: usize,
}

/// The profile of a server. In production, settings that are only safe on a developer's machine are
/// faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerProfile {
    /// Development and tests on one's own machine.
    Development,
    /// A server that is reachable by people who are not trusted.
    Production,
}

impl ServerConfig {
    /// Returns the number of worker threads for a machine with `cores` cores: by default one for
    /// each core but one.
    pub fn worker_thread_count(&self, cores: usize) -> usize {
        if self.worker_threads > 0 {
            self.worker_threads
        } else {
            cores.saturating_sub(1).max(1)
        }
    }

    /// Returns the URL at which clients reach this instance: the advertised URL, or `http://` and
    /// the bound address. An unspecified address such as 0.0.0.0, to which clients cannot connect,
    /// is replaced by loopback.
    pub fn base_url(&self, bound: SocketAddr) -> BaseUrl {
        self.advertised_url
            .clone()
            .unwrap_or_else(|| BaseUrl::from_bound_address(bound))
    }
}

/// An absolute `http` or `https` URL without credentials, query, fragment or final slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    fn from_bound_address(bound: SocketAddr) -> Self {
        let ip = match bound.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self(format!("http://{}", SocketAddr::new(ip, bound.port())))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the URL of the WebSocket endpoint: `ws` for `http`, `wss` for `https`, and
    /// `/api/v1/ws` after the path.
    pub fn websocket_url(&self) -> String {
        let after_http = self
            .0
            .strip_prefix("http")
            .expect("a base URL is http or https");
        format!("ws{after_http}/api/v1/ws")
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BaseUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri = Uri::from_str(text).map_err(|_| "not a URL")?;
        let scheme = uri
            .scheme_str()
            .filter(|scheme| matches!(*scheme, "http" | "https"));
        let scheme = scheme.ok_or("not an http:// or https:// URL")?;
        let authority = uri.authority().ok_or("has no host")?;
        if authority.as_str().contains('@') {
            return Err("must not contain credentials, since every client receives this URL");
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("must not contain a query or fragment");
        }
        Ok(Self(format!(
            "{scheme}://{authority}{}",
            uri.path().trim_end_matches('/')
        )))
    }
}

fn advertised_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BaseUrl>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(D::Error::custom),
    }
}
