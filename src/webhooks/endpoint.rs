//! The endpoints in the section `[webhooks]` of the configuration.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::http_client::HttpUrl;
use crate::webhooks::{SigningKey, WebhookEventKind};

/// Longest name of an endpoint.
const NAME_MAX: usize = 64;

/// A host app's URL that receives webhooks.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Name of the endpoint, in the database and for operators.
    pub name: String,
    pub url: HttpUrl,
    /// Key that signs the endpoint's messages.
    pub signing_key: SigningKey,
    /// Key that signs them as well, while the key is being changed.
    pub previous_signing_key: Option<SigningKey>,
    /// Kinds of events that the endpoint receives.
    pub event_kinds: Vec<WebhookEventKind>,
}

/// The configured webhook endpoints.
#[derive(Debug, Clone, Deserialize)]
pub struct Options {
    /// The endpoints, each with a name of its own.
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

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_endpoint(RawEndpoint::deserialize(deserializer)?).map_err(D::Error::custom)
    }
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
