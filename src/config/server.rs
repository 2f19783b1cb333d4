//! Section `[server]`: the public listener and who may talk to it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::http::Uri;
use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// The public listener and who may talk to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// What the server is for.
    pub profile: ServerProfile,
    /// Where to bind; port 0 takes any free one.
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// Where clients reach this instance, if that isn't the bound address.
    #[serde(deserialize_with = "advertised_url")]
    pub advertised_url: Option<BaseUrl>,
    /// Origins besides the server's own whose pages may talk to it.
    pub allowed_origins: AllowedOrigins,
    /// Peers whose `X-Forwarded-For` and `Forwarded` are believed.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
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

/// Which origins, besides the server's own, may talk to the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedOrigins {
    any: bool,
    exact: Vec<String>,
}

impl AllowedOrigins {
    /// Whether every origin is allowed.
    pub fn allows_all(&self) -> bool {
        self.any
    }

    /// Whether `origin`, the value of an `Origin` header, is on the list.
    pub fn allows(&self, origin: &str) -> bool {
        self.any || self.exact.iter().any(|allowed| allowed == origin)
    }
}

impl<'de> Deserialize<'de> for AllowedOrigins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut origins = Self::default();
        for text in Vec::<String>::deserialize(deserializer)? {
            match text.as_str() {
                "*" => origins.any = true,
                text => origins
                    .exact
                    .push(normalize_origin(text).map_err(D::Error::custom)?),
            }
        }
        Ok(origins)
    }
}

/// `text` as a browser would put it in an `Origin` header: lower case, without the scheme's own port.
fn normalize_origin(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let exact = match lower.split_once("://") {
        Some(("http", host)) => host
            .strip_suffix(":80")
            .map(|host| format!("http://{host}")),
        Some(("https", host)) => host
            .strip_suffix(":443")
            .map(|host| format!("https://{host}")),
        Some(_) => None,
        None => return Err(invalid_origin_message(text)),
    }
    .unwrap_or(lower);
    let (scheme, host) = exact.split_once("://").expect("checked above");
    let odd = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '@' | '*' | ',');
    if scheme.is_empty() || host.is_empty() || host.contains(odd) || scheme.contains(odd) {
        return Err(invalid_origin_message(text));
    }
    Ok(exact)
}

fn invalid_origin_message(text: &str) -> String {
    format!(
        "{text:?} is not an origin: expected scheme://host[:port] without path or final slash, or \"*\""
    )
}

/// For the keys that hold an address to bind.
pub(super) fn parse_socket_address<E: Error>(text: &str) -> Result<SocketAddr, E> {
    let expected = "expected ADDRESS:PORT such as 127.0.0.1:8080 (host names are not resolved)";
    text.parse()
        .map_err(|_| E::custom(format!("{expected}, found {text:?}")))
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parse_socket_address(&String::deserialize(deserializer)?)
}

fn advertised_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BaseUrl>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(D::Error::custom),
    }
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let parse = |text: &String| {
        let single = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse::<IpNet>().or_else(|_| single()).map_err(|_| {
            D::Error::custom(format!(
                "{text:?} is neither a network such as 10.0.0.0/8 nor an address"
            ))
        })
    };
    Vec::<String>::deserialize(deserializer)?
        .iter()
        .map(parse)
        .collect()
}
