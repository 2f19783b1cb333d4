//! The services that the servers of a run need: a database and a bus. Like the servers, they are on
//! this machine and nowhere else.

use std::fmt;
use std::net::IpAddr;

use url::Url;

/// The URL of a service on this machine. No constructor accepts a URL that points elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl(String);

/// Why a URL is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceUrlError {
    /// The URL cannot be parsed, or has another scheme.
    #[error("write {0}")]
    Unreadable(&'static str),
    /// The URL does not clearly point to this machine.
    #[error(
        "refused: a run uses services at a loopback address of this machine only, named in the URL's host"
    )]
    NotLoopback,
}

impl ServiceUrl {
    /// Parses the URL of a PostgreSQL database.
    pub fn postgres(url: &str) -> Result<ServiceUrl, ServiceUrlError> {
        Self::parse(
            url,
            &["postgres", "postgresql"],
            "postgres://USER@127.0.0.1:PORT/DATABASE",
        )
    }

    /// Parses the URL of a Redis server.
    pub fn redis(url: &str) -> Result<ServiceUrl, ServiceUrlError> {
        Self::parse(url, &["redis", "rediss"], "redis://127.0.0.1:PORT")
    }

    fn parse(
        url: &str,
        schemes: &[&str],
        example: &'static str,
    ) -> Result<ServiceUrl, ServiceUrlError> {
        let parsed = Url::parse(url.trim()).map_err(|_| ServiceUrlError::Unreadable(example))?;
        if !schemes.contains(&parsed.scheme()) {
            return Err(ServiceUrlError::Unreadable(example));
        }
        let host = parsed.host_str().unwrap_or_default();
        let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let local = host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback());
        // A parameter can name another host than the URL's own.
        let elsewhere = parsed
            .query_pairs()
            .any(|(name, _)| name.to_ascii_lowercase().contains("host"));
        if local && !elsewhere {
            Ok(ServiceUrl(url.trim().to_owned()))
        } else {
            Err(ServiceUrlError::NotLoopback)
        }
    }

    /// Returns the URL, including the password if there is one.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceUrl(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_urls_on_loopback_are_accepted_unchanged() {
        for url in [
            "postgres://a:b@127.0.0.1:5432/c",
            "postgresql://localhost/c?sslmode=disable",
        ] {
            assert_eq!(
                ServiceUrl::postgres(url).map(|url| url.as_str().to_owned()),
                Ok(url.to_owned())
            );
        }
        for url in ["redis://127.0.0.1:6379", "rediss://:secret@[::1]:1/0"] {
            assert_eq!(
                ServiceUrl::redis(url).map(|url| url.as_str().to_owned()),
                Ok(url.to_owned())
            );
        }
        let shown = format!(
            "{:?}",
            ServiceUrl::redis("redis://:secret@localhost").unwrap()
        );
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn service_urls_of_other_hosts_or_schemes_are_refused() {
        for url in [
            "postgres://192.0.2.1/c",
            "postgres:///c",
            "postgres://db.example.com/c",
            "postgres://127.0.0.1@192.0.2.1/c",
            "postgres://127.0.0.1,192.0.2.1/c",
            "postgres://127.0.0.1/c?host=192.0.2.1",
            "postgres://127.0.0.1/c?hostaddr=192.0.2.1",
        ] {
            assert_eq!(
                ServiceUrl::postgres(url),
                Err(ServiceUrlError::NotLoopback),
                "{url}"
            );
        }
        for url in ["redis://cache.example.com", "redis://0.0.0.0:1"] {
            assert_eq!(
                ServiceUrl::redis(url),
                Err(ServiceUrlError::NotLoopback),
                "{url}"
            );
        }
        for url in ["", "127.0.0.1", "sqlite://x.db", "redis://127.0.0.1"] {
            assert!(
                matches!(
                    ServiceUrl::postgres(url),
                    Err(ServiceUrlError::Unreadable(_))
                ),
                "{url}"
            );
        }
    }
}
