//! Section `[server]`: the public listener and this instance's URL.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::http::Uri;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::option_value::listen_address;

/// The public listener and this instance's URL.
#[derive(Debug, Clone, Deserialize)]
pub struct ServerConfig {
    /// What the server is for.
    pub profile: ServerProfile,
    /// Where to bind; port 0 takes any free one.
    #[serde(deserialize_with = "listen_address")]
    pub listen: SocketAddr,
    /// Where clients reach this instance, if that isn't the bound address.
    #[serde(deserialize_with = "advertised_url")]
    pub advertised_url: Option<BaseUrl>,
    /// Threads that serve; 0 leaves the choice to [`ServerConfig::worker_thread_count`].
    pub worker_threads: usize,
}

/// What a server is for: decides which settings are faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerProfile {
    /// Trying out and developing, on one's own machine.
    Development,
    /// Strangers come.
    Production,
}

impl ServerConfig {
    /// Threads that serve on a machine of this many cores.
    pub fn worker_thread_count(&self, cores: usize) -> usize {
        if self.worker_threads > 0 {
            self.worker_threads
        } else {
            cores.saturating_sub(1).max(1)
        }
    }

    /// Where clients reach this instance, listening on `bound`: the advertised URL, or else `http://` and `bound`,
    /// with loopback in place of an unspecified address such as 0.0.0.0, which nobody can connect to.
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

    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The WebSocket endpoint under it: `ws` for `http`, `wss` for `https`, then its path and `/api/v1/ws`.
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
            return Err("credentials don't belong in a URL that every client is told");
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("a query or fragment doesn't belong here");
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
