//! `[[auth.issuers]]`: whose tokens are believed besides our own.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::auth::IssuerSource;

/// Somebody whose tokens are believed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// What `iss` is in their tokens.
    pub issuer: String,
    /// What is in `aud` of tokens that are meant for us.
    pub audience: String,
    /// Where their public keys are.
    #[serde(deserialize_with = "source")]
    pub jwks: IssuerSource,
    /// The claim that names the subject.
    #[serde(default = "subject_claim")]
    pub subject_claim: String,
    /// The claim that a new player's name is taken from.
    #[serde(default = "name_claim")]
    pub name_claim: String,
    /// What stands before the subject in a player's external id.
    #[serde(default)]
    pub external_id_prefix: String,
    /// The claim that may make a token a service's or an operator's; empty: none can.
    #[serde(default)]
    pub scope_claim: String,
    /// The longest life of a token.
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

fn lifetime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let secs = u64::deserialize(deserializer)?;
    if !(60..=2_592_000).contains(&secs) {
        return Err(D::Error::custom(format!(
            "lifetime_max_secs must be 60 to 2592000, is {secs}"
        )));
    }
    Ok(Duration::from_secs(secs))
}

fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IssuerSource, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|error| D::Error::custom(format!("jwks {error}")))
}
