//! A Telegram Mini App's init data: its user, proven by Telegram's signature
//! (<https://core.telegram.org/bots/webapps#validating-data-received-via-the-mini-app>).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use raidhall_protocol::{UnixMillis, text};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sha2::Sha256;

use super::external::ExternalIdentity;
use crate::redact::REDACTED;

/// Prefix of the external ids of Telegram's users.
pub const TELEGRAM_PREFIX: &str = "telegram:";

/// Longest accepted init data, several times what Telegram sends.
const INIT_DATA_BYTES_MAX: usize = 8192;
const FIELDS_MAX: usize = 32;
/// Maximum amount by which Telegram's clock may be ahead of the database's, in milliseconds.
const CLOCK_SKEW_MAX_MS: i64 = 30_000;

/// Verifies the init data of one bot's users.
pub(super) struct InitDataVerifier {
    key: Hmac<Sha256>,
    age_max: Duration,
}

/// A user of Telegram whose init data is genuine.
#[derive(Debug, PartialEq, Eq)]
pub struct TelegramUser {
    /// External id and name of the player.
    pub identity: ExternalIdentity,
    /// Proof of the init data, which may be used for one sign-in.
    pub proof: [u8; 32],
    /// How long the proof has to be remembered.
    pub proof_ttl: Duration,
}

/// Token of a bot. Its holder can forge init data, so `Debug` does not show it.
#[derive(Clone)]
pub struct BotToken(String);

impl BotToken {
    pub fn new(text: impl Into<String>) -> BotToken {
        BotToken(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Reads a token in the form in which Telegram issues it, `<number>:<35 characters>`; empty text
/// means none.
pub(super) fn deserialize_bot_token<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BotToken>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_token = |text: &str| {
        let (id, key) = text.split_once(':').unwrap_or_default();
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) && key.len() >= 30
    };
    match text.as_str() {
        "" => Ok(None),
        text if is_token(text) => Ok(Some(BotToken::new(text))),
        _ => Err(D::Error::custom(
            "is not a bot's token: digits, a colon, and 30 characters or more",
        )),
    }
}

impl fmt::Debug for BotToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

#[derive(Deserialize)]
struct InitDataUser {
    id: u64,
    first_name: Option<String>,
    last_name: Option<String>,
    username: Option<String>,
}

impl InitDataVerifier {
    pub(super) fn new(token: &BotToken, age_max: Duration) -> InitDataVerifier {
        let key = mac(b"WebAppData")
            .chain_update(token.0.as_bytes())
            .finalize()
            .into_bytes();
        InitDataVerifier {
            key: mac(&key),
            age_max,
        }
    }

    /// Returns the user of init data that Telegram has signed and that is not older than `age_max`.
    /// Returns `None` if the data is malformed, unsigned, too old or from the future.
    pub(super) fn verify(&self, init_data: &str, now: UnixMillis) -> Option<TelegramUser> {
        let mut fields = parse_fields(init_data)?;
        let hash = fields.remove("hash")?;
        let proof: [u8; 32] = HEXLOWER.decode(hash.as_bytes()).ok()?.try_into().ok()?;
        let lines: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        // The comparison takes constant time.
        self.key
            .clone()
            .chain_update(lines.join("\n"))
            .verify_slice(&proof)
            .ok()?;
        let signed = UnixMillis(
            fields
                .get("auth_date")?
                .parse::<i64>()
                .ok()?
                .checked_mul(1_000)?,
        );
        let age_max = i64::try_from(self.age_max.as_millis()).unwrap_or(i64::MAX);
        let age = now.since(signed);
        if !(-CLOCK_SKEW_MAX_MS..=age_max).contains(&age) {
            return None;
        }
        let user: InitDataUser = serde_json::from_str(fields.get("user")?).ok()?;
        let remember = self.age_max + Duration::from_millis(2 * CLOCK_SKEW_MAX_MS.unsigned_abs());
        Some(TelegramUser {
            identity: external_identity(user),
            proof,
            proof_ttl: remember,
        })
    }
}

fn external_identity(user: InitDataUser) -> ExternalIdentity {
    let InitDataUser {
        id,
        first_name,
        last_name,
        username,
    } = user;
    let whole = [first_name, last_name]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ");
    let name = if whole.chars().any(text::is_visible) {
        whole
    } else {
        username.unwrap_or_default()
    };
    let name = super::external::player_name(Some(&Value::String(name)));
    ExternalIdentity {
        external_id: format!("{TELEGRAM_PREFIX}{id}"),
        name,
    }
}

/// Parses the fields of a query string, sorted by name. Returns `None` if a field occurs twice.
fn parse_fields(init_data: &str) -> Option<BTreeMap<String, String>> {
    if init_data.len() > INIT_DATA_BYTES_MAX {
        return None;
    }
    let mut fields = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(init_data.as_bytes()) {
        let twice = fields
            .insert(name.into_owned(), value.into_owned())
            .is_some();
        if twice || fields.len() > FIELDS_MAX {
            return None;
        }
    }
    Some(fields)
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// Returns init data signed as Telegram signs it.
#[cfg(test)]
pub(super) fn sign_init_data(token: &str, fields: &[(&str, &str)]) -> String {
    let key = mac(b"WebAppData")
        .chain_update(token.as_bytes())
        .finalize()
        .into_bytes();
    let sorted: BTreeMap<_, _> = fields.iter().copied().collect();
    let lines: Vec<String> = sorted
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let hash = mac(&key)
        .chain_update(lines.join("\n"))
        .finalize()
        .into_bytes();
    let mut data = form_urlencoded::Serializer::new(String::new());
    data.extend_pairs(fields)
        .append_pair("hash", &HEXLOWER.encode(&hash))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "5768337691:AAH5YkoiEuPk8-FZa32hStHTqXiLPtAEhx8";
    const NOW: UnixMillis = UnixMillis(1_662_771_800_000);
    const USER: &str =
        r#"{"id":279058397,"first_name":"Vladislav","last_name":"Kibenko","username":"vdkfrost"}"#;

    fn telegram() -> InitDataVerifier {
        InitDataVerifier::new(&BotToken::new(TOKEN), Duration::from_secs(300))
    }

    fn fields() -> Vec<(&'static str, &'static str)> {
        vec![
            ("query_id", "AAHdF6IQ"),
            ("user", USER),
            ("auth_date", "1662771648"),
        ]
    }

    /// Telegram's signature over data that other implementations use as a test vector.
    #[test]
    fn data_signed_by_telegram_is_accepted() {
        let data = "query_id=AAHdF6IQAAAAAN0XohDhrOrc&user=%7B%22id%22%3A279058397%2C%22first_name%22%3A%22Vladislav%22%2C\
                    %22last_name%22%3A%22Kibenko%22%2C%22username%22%3A%22vdkfrost%22%2C%22language_code%22%3A%22ru%22%2C\
                    %22is_premium%22%3Atrue%7D&auth_date=1662771648&hash=c501b71e775f74ce10e377dea85a7ea24ecd640b223ea86dfe453e0eaed2e2b2";
        let user = telegram().verify(data, NOW).expect("accepted");
        let expected = ExternalIdentity {
            external_id: "telegram:279058397".into(),
            name: "Vladislav Kibenko".into(),
        };
        assert_eq!(user.identity, expected);
        assert!(
            telegram()
                .verify(&data.replace("Vladislav", "Vladimir"), NOW)
                .is_none()
        );
        let other = InitDataVerifier::new(&BotToken::new("1:other"), Duration::from_secs(300));
        assert!(other.verify(data, NOW).is_none());
    }

    #[test]
    fn data_signed_too_long_ago_or_in_the_future_is_refused() {
        let data = sign_init_data(TOKEN, &fields());
        let at = |seconds: i64| {
            telegram()
                .verify(&data, UnixMillis((1_662_771_648 + seconds) * 1_000))
                .is_some()
        };
        assert_eq!(
            [-31, -30, 0, 300, 301].map(at),
            [false, true, true, true, false]
        );
        assert_eq!(
            telegram().verify(&data, NOW).expect("a user").proof_ttl,
            Duration::from_secs(360)
        );
    }

    #[test]
    fn altered_or_unsigned_telegram_data_is_refused() {
        let good = sign_init_data(TOKEN, &fields());
        assert!(telegram().verify(&good, NOW).is_some());
        let no_hash = good.split("&hash=").next().expect("a part").to_owned();
        for bad in [
            String::new(),
            no_hash.clone(),
            format!("{no_hash}&hash="),
            format!("{no_hash}&hash={}", "0".repeat(64)),
            format!("{good}&extra=1"),
            format!("{good}&hash={}", "0".repeat(64)),
            format!("auth_date=1662771700&{good}"),
            good.replace("279058397", "279058398"),
            good.replace("hash=", "hash=0"),
            format!("{good}&{}", "x".repeat(INIT_DATA_BYTES_MAX)),
        ] {
            assert!(telegram().verify(&bad, NOW).is_none(), "{bad}");
        }
        for lacking in ["user", "auth_date"] {
            let rest: Vec<_> = fields()
                .into_iter()
                .filter(|(name, _)| *name != lacking)
                .collect();
            assert!(
                telegram()
                    .verify(&sign_init_data(TOKEN, &rest), NOW)
                    .is_none(),
                "{lacking}"
            );
        }
        for user in [
            r#"{"id":-5}"#,
            r#"{"id":"5"}"#,
            r#"{"first_name":"Ada"}"#,
            "null",
            "",
        ] {
            let data = sign_init_data(TOKEN, &[("user", user), ("auth_date", "1662771648")]);
            assert!(telegram().verify(&data, NOW).is_none(), "{user}");
        }
    }

    #[test]
    fn a_telegram_name_falls_back_from_first_name_to_username() {
        let name = |user: &str| {
            let data = sign_init_data(TOKEN, &[("user", user), ("auth_date", "1662771648")]);
            telegram()
                .verify(&data, NOW)
                .expect("accepted")
                .identity
                .name
        };
        assert_eq!(name(r#"{"id":5,"first_name":"Ada"}"#), "Ada");
        assert_eq!(name(r#"{"id":5,"first_name":" ","username":"ada"}"#), "ada");
        assert_eq!(
            name("{\"id\":5,\"first_name\":\"\u{200b}\",\"username\":\"ada\"}"),
            "ada"
        );
        assert_eq!(name(r#"{"id":5}"#), "Player");
        assert_eq!(
            name(&format!(
                r#"{{"id":5,"first_name":"{}\n"}}"#,
                "é".repeat(50)
            )),
            "é".repeat(40)
        );
    }
}
