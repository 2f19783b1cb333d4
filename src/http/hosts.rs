//! The hosts under which the server may be called.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::HOST;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// The values of `Host` that are served; all if empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServedHosts(Arc<[String]>);

impl ServedHosts {
    /// Whether requests with these headers are served.
    pub(super) fn serves(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        self.0.is_empty()
            || host.is_some_and(|host| {
                self.0
                    .iter()
                    .any(|served| served.eq_ignore_ascii_case(host))
            })
    }
}

impl<'de> Deserialize<'de> for ServedHosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hosts = Vec::<String>::deserialize(deserializer)?;
        let is_odd = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '@' | '*' | ',');
        match hosts
            .iter()
            .find(|host| host.is_empty() || host.contains(is_odd))
        {
            Some(host) => Err(D::Error::custom(format!(
                "{host:?} is not a host: expected a name or an address, with :PORT if it is not the scheme's own"
            ))),
            None => Ok(Self(hosts.into())),
        }
    }
}
