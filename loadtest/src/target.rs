//! The target of the load: this machine and nowhere else.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use url::Url;

/// A server on this machine. No constructor accepts a URL that points elsewhere: what this crate
/// sends is load, and load sent to another machine is an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    address: SocketAddr,
}

/// Why a URL is refused as a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The URL is not of the form `http://HOST:PORT`.
    #[error("parse target {0:?}: write http://127.0.0.1:PORT")]
    Unreadable(String),
    /// The host is not a loopback address.
    #[error("refuse target {0:?}: this tool sends load to a loopback address of this machine only")]
    NotLoopback(String),
}

impl Target {
    /// Parses `http://HOST:PORT` (or `ws://`; a path is ignored) where HOST is a loopback address
    /// or `localhost`, which is taken as 127.0.0.1 without asking a resolver.
    pub fn parse(url: &str) -> Result<Target, TargetError> {
        let unreadable = || TargetError::Unreadable(url.to_owned());
        let parsed = Url::parse(url.trim()).map_err(|_| unreadable())?;
        if !matches!(parsed.scheme(), "http" | "ws") {
            return Err(unreadable());
        }
        let host = parsed.host_str().ok_or_else(unreadable)?;
        let port = parsed.port_or_known_default().ok_or_else(unreadable)?;
        let ip = match host {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            name => name
                .trim_matches(['[', ']'])
                .parse()
                .map_err(|_| TargetError::NotLoopback(url.to_owned()))?,
        };
        if !ip.is_loopback() {
            return Err(TargetError::NotLoopback(url.to_owned()));
        }
        Ok(Target {
            address: SocketAddr::new(ip, port),
        })
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of a path that begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_in_every_spelling_is_a_target() {
        for url in [
            "http://127.0.0.1:8080",
            "http://localhost:8080/x",
            "ws://[::1]:9",
            "http://127.9.9.9:1",
        ] {
            assert!(Target::parse(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn target_urls_of_other_hosts_or_schemes_are_refused() {
        for url in [
            "http://192.0.2.1:80",
            "http://example.com",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com:80",
            "http://0.0.0.0:80",
            "http://user@192.0.2.1:80",
            "http://127.0.0.1@192.0.2.1:80",
            "http://[::ffff:192.0.2.1]:80",
        ] {
            assert!(
                matches!(Target::parse(url), Err(TargetError::NotLoopback(_))),
                "{url}"
            );
        }
        for url in ["", "127.0.0.1:80", "https://127.0.0.1", "ftp://127.0.0.1"] {
            assert!(
                matches!(Target::parse(url), Err(TargetError::Unreadable(_))),
                "{url}"
            );
        }
    }
}
