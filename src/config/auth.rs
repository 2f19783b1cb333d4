//! Section `[auth]`: tokens and sign-in.

use std::fmt;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::duration;
use super::issuers::IssuerConfig;
use crate::redact::REDACTED;

/// Tokens and sign-in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    /// Signs tokens. `None` only with SQLite: then auth makes one and keeps it beside the database.
    #[serde(deserialize_with = "secret")]
    pub secret: Option<Secret>,
    /// Believed besides `secret`, and signs nothing.
    #[serde(deserialize_with = "secret")]
    pub accepted_secret: Option<Secret>,
    /// Whether anyone may sign in by a name alone.
    pub guest: bool,
    /// Lifetime of an access token.
    #[serde(rename = "access_ttl_secs", deserialize_with = "duration::secs")]
    pub access_ttl: Duration,
    /// Lifetime of an unused refresh token; longer than `access_ttl`.
    #[serde(rename = "refresh_ttl_secs", deserialize_with = "duration::secs")]
    pub refresh_ttl: Duration,
    /// The token of the bot whose users may sign in; none: they may not.
    #[serde(deserialize_with = "bot_token")]
    pub telegram_bot_token: Option<Secret>,
    /// How old what Telegram says of its user may be.
    #[serde(rename = "telegram_age_max_secs", deserialize_with = "duration::secs")]
    pub telegram_age_max: Duration,
    /// Whose tokens are believed besides our own.
    pub issuers: Vec<IssuerConfig>,
}

/// Key material of at least 32 bytes. It has no `Display`, and `Debug` prints `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Fewest bytes of a secret: the output of SHA-256, the minimum for HS256 by RFC 7518, section 3.2.
    pub const BYTES_MIN: usize = 32;

    /// `text` as a secret, or `None` if it is shorter than [`Secret::BYTES_MIN`].
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (text.len() >= Self::BYTES_MIN).then_some(Self(text))
    }

    /// The secret itself: for signing alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// `<number>:<35 characters>`, as Telegram gives them out.
fn bot_token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_token = |text: &str| {
        let (id, key) = text.split_once(':').unwrap_or_default();
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) && key.len() >= 30
    };
    match text.as_str() {
        "" => Ok(None),
        text if is_token(text) => Ok(Secret::new(text)),
        _ => Err(D::Error::custom(
            "is not a bot's token: digits, a colon, and 30 characters or more",
        )),
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let found = text.len();
    let short = || {
        format!(
            "must have at least {} bytes, has {found}",
            Secret::BYTES_MIN
        )
    };
    Secret::new(text)
        .map(Some)
        .ok_or_else(|| D::Error::custom(short()))
}
