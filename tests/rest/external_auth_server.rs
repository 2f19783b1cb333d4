//! A test server that accepts tokens of a host app and Telegram's init data.

use std::io::Write;
use std::time::Duration;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use raidhall::auth::{BotToken, IssuerOptions};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData};
use serde_json::json;
use sha2::Sha256;
use tempfile::NamedTempFile;

use crate::rest_server::{RestResponse, RestServer};

const BOT: &str = "5768337691:AAH5YkoiEuPk8-FZa32hStHTqXiLPtAEhx8";

/// A server that accepts tokens of a host app and Telegram's init data, and the keys to sign both.
pub struct ExternalAuthServer {
    pub server: RestServer,
    signing: EncodingKey,
    _keys: NamedTempFile,
}

impl ExternalAuthServer {
    pub async fn start() -> ExternalAuthServer {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let x = data_encoding::BASE64URL_NOPAD.encode(pair.der_bytes());
        let mut keys = NamedTempFile::new().expect("a file");
        let set = json!({"keys": [{"kty": "OKP", "kid": "a", "crv": "Ed25519", "x": x}]});
        keys.write_all(set.to_string().as_bytes()).expect("written");
        let issuer = IssuerOptions {
            issuer: "https://host.example".into(),
            audience: "raids".into(),
            jwks: keys.path().display().to_string().parse().expect("a path"),
            subject_claim: "sub".into(),
            name_claim: "name".into(),
            external_id_prefix: "host:".into(),
            scope_claim: None,
            lifetime_max: Duration::from_secs(3600),
        };
        let server = RestServer::start_with(|config| {
            config.auth.issuers = vec![issuer];
            config.auth.telegram_bot_token = Some(BotToken::new(BOT));
        })
        .await;
        let signing = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).expect("a key");
        ExternalAuthServer {
            server,
            signing,
            _keys: keys,
        }
    }

    /// Returns a token that the host app has signed for its user.
    pub fn host_app_token(&self, subject: &str, name: &str) -> String {
        let now = self.server.clock.now().0 / 1_000;
        let claims = json!({"iss": "https://host.example", "aud": "raids", "sub": subject, "name": name,
            "iat": now, "exp": now + 600});
        let header = Header {
            kid: Some("a".into()),
            ..Header::new(Algorithm::EdDSA)
        };
        jsonwebtoken::encode(&header, &claims, &self.signing).expect("signed")
    }

    /// Returns the init data of a user of the bot, signed `ago` seconds ago.
    pub fn init_data(&self, user: u64, ago: i64) -> String {
        let date = (self.server.clock.now().0 / 1_000 - ago).to_string();
        let user = json!({"id": user, "first_name": "Ada"}).to_string();
        let mac = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).expect("any length");
        let key = mac(b"WebAppData")
            .chain_update(BOT.as_bytes())
            .finalize()
            .into_bytes();
        let signed = format!("auth_date={date}\nquery_id=q{ago}\nuser={user}");
        let hash = HEXLOWER.encode(&mac(&key).chain_update(signed).finalize().into_bytes());
        let fields = [
            ("auth_date", date),
            ("query_id", format!("q{ago}")),
            ("user", user),
            ("hash", hash),
        ];
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish()
    }

    pub async fn sign_in_with_telegram(&self, init_data: &str) -> RestResponse {
        self.server
            .post("/auth/telegram", "", json!({"init_data": init_data}))
            .await
    }
}
