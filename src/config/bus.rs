//! Section `[bus]`: what carries events between instances.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::redact;

/// What carries events between instances.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusConfig {
    /// Which bus.
    pub url: BusKind,
}

/// The kinds of bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusKind {
    /// Within this process: one instance serves the database.
    Local,
}

impl<'de> Deserialize<'de> for BusKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "local" => Ok(Self::Local),
            url => Err(D::Error::custom(format!(
                "this release supports only \"local\", one instance per database, and would not use {:?}; \
                 set bus.url = \"local\" (RAIDHALL__BUS__URL=local), or unset REDIS_URL",
                redact::url(url)
            ))),
        }
    }
}
