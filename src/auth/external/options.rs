//! Entries of `auth.issuers` in the configuration.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::JwksSource;

/// An issuer whose tokens are accepted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerOptions {
    /// The value of `iss` in its tokens.
    pub issuer: String,
    /// The value in `aud` of tokens that are meant for this server.
    pub audience: String,
    /// The source of its public keys.
    #[serde(deserialize_with = "source")]
    pub jwks: JwksSource,
    /// The claim that names the subject.
    #[serde(default = "subject_claim")]
    pub subject_claim: String,
    /// The claim that names a new player.
    #[serde(default = "name_claim")]
    pub name_claim: String,
    /// The text before the subject in a player's external id.
    #[serde(default)]
    pub external_id_prefix: String,
    /// The claim that may hold `raidhall:service` or `raidhall:admin`; `None` if this issuer cannot
    /// grant those scopes.
    #[serde(default, deserialize_with = "scope_claim")]
    pub scope_claim: Option<String>,
    /// The longest time between `iat` and `exp`.
    #[serde(
        rename = "lifetime_max_secs",
        default = "lifetime_max",
        deserialize_with = "lifetime"
    )]
    pub lifetime_max: Duration,
}

fn subject_claim() -> String {
    "sub".to_owned()
}

fn name_claim() -> String {
    "name".to_owned()
}

const fn lifetime_max() -> Duration {
    Duration::from_secs(86_400)
}

fn scope_claim<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let claim = String::deserialize(deserializer)?;
    Ok((!claim.is_empty()).then_some(claim))
}

fn lifetime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let secs = u64::deserialize(deserializer)?;
    if !(60..=2_592_000).contains(&secs) {
        return Err(D::Error::custom(format!(
            "lifetime_max_secs must be 60 to 2592000, is {secs}"
        )));
    }
    Ok(Duration::from_secs(secs))
}

fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<JwksSource, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|error| D::Error::custom(format!("jwks {error}")))
}
