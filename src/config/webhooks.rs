//! Section `[webhooks]`: who is told of what has happened.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::http_client::HttpUrl;
use crate::webhooks::{Endpoint, SigningKey, WebhookEventKind};

/// Longest name of an endpoint.
const NAME_MAX: usize = 64;

/// Who is told of what has happened.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhooksConfig {
    /// Each of them.
    #[serde(deserialize_with = "endpoints")]
    pub endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEndpoint {
    name: String,
    url: String,
    secret: String,
    previous_secret: Option<String>,
    types: Option<Vec<WebhookEventKind>>,
}

fn endpoints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Endpoint>, D::Error> {
    let written = Vec::<RawEndpoint>::deserialize(deserializer)?;
    written
        .into_iter()
        .map(|written| parse_endpoint(written).map_err(D::Error::custom))
        .collect()
}

fn parse_endpoint(
    RawEndpoint {
        name,
        url,
        secret,
        previous_secret,
        types,
    }: RawEndpoint,
) -> Result<Endpoint, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !(1..=NAME_MAX).contains(&name.len()) || !name.chars().all(plain) {
        return Err("name must be 1 to 64 of a-z, 0-9 and -".to_owned());
    }
    let key = |field: &str, text: &str| {
        text.parse::<SigningKey>()
            .map_err(|error| format!("{name}: {field} {error}"))
    };
    let previous = previous_secret.filter(|text| !text.is_empty());
    Ok(Endpoint {
        url: HttpUrl::parse_confidential(&url).map_err(|error| format!("{name}: url {error}"))?,
        signing_key: key("secret", &secret)?,
        previous_signing_key: previous
            .map(|text| key("previous_secret", &text))
            .transpose()?,
        event_kinds: types.unwrap_or_else(|| WebhookEventKind::ALL.to_vec()),
        name,
    })
}
