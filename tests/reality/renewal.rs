//! A second `hello` renews a connection's token: our own, a host app's, nobody else's.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use raidhall::auth::Scope;
use raidhall_loadtest::client::Rest;
use raidhall_loadtest::targets::Targets;
use raidhall_protocol::{
    ClientMessage, CloseCode, Codec, Command, PlayerId, RaidId, ServerMessage,
};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::bounded;
use crate::party::{long_raid, target};
use crate::process::{Server, Site};
use crate::wire::Wire;

/// A server that believes a host app, and the host app's key.
struct Host {
    site: Site,
    server: Server,
    signing: EncodingKey,
    _keys: NamedTempFile,
}

impl Host {
    async fn start() -> Host {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let x = data_encoding::BASE64URL_NOPAD.encode(pair.der_bytes());
        let mut keys = NamedTempFile::new().expect("a file");
        let set = json!({"keys": [{"kty": "OKP", "kid": "a", "crv": "Ed25519", "x": x}]});
        keys.write_all(set.to_string().as_bytes()).expect("written");
        let issuers = format!(
            r#"[{{issuer="https://host.example",audience="raids",jwks="{}"}}]"#,
            keys.path().display()
        );
        let site = Site::sqlite().await;
        let server = site.start_with(&[("AUTH__ISSUERS", &issuers)]).await;
        let signing = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).expect("a key");
        Host {
            site,
            server,
            signing,
            _keys: keys,
        }
    }

    /// The host app's token for one of its users, good for so many seconds.
    fn token(&self, subject: &str, seconds: i64) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs()
            .cast_signed();
        let claims = json!({"iss": "https://host.example", "aud": "raids", "sub": subject, "name": subject,
            "iat": now.min(now + seconds - 1), "exp": now + seconds});
        let header = Header {
            kid: Some("a".into()),
            ..Header::new(Algorithm::EdDSA)
        };
        jsonwebtoken::encode(&header, &claims, &self.signing).expect("signed")
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let client = Client::builder().no_proxy().build().expect("a client");
        let request = client
            .request(method, self.server.target().url(path))
            .bearer_auth(token)
            .json(&body);
        let answer = request.send().await.expect("an answer");
        (
            answer.status(),
            answer.json::<Value>().await.expect("JSON")["data"].clone(),
        )
    }

    fn rest(&self, token: &str) -> Rest {
        let target = target(self.server.target().address());
        Rest::over(Targets::from(target))
            .expect("doors")
            .with_token(token)
    }
}

/// Says hello again, and gives the player that the server welcomes.
async fn welcomed(wire: &mut Wire, token: &str) -> PlayerId {
    wire.send(hello(token)).await;
    let player = |message: &ServerMessage| match message {
        ServerMessage::Welcome { player, .. } => player.as_ref().map(|player| player.id),
        _ => None,
    };
    wire.seek(player).await
}

async fn refused(wire: &mut Wire, token: &str) -> String {
    wire.send(hello(token)).await;
    wire.error("hello").await.r#type.as_str().to_owned()
}

fn hello(token: &str) -> ClientMessage {
    ClientMessage::Hello {
        token: token.to_owned(),
        client: None,
    }
}

async fn raid_of(host: &Host, token: &str) -> RaidId {
    host.rest(token)
        .create(&long_raid(2), None)
        .await
        .expect("a raid")
        .state
        .id
}

#[tokio::test]
async fn a_connection_is_renewed_by_any_token_of_its_player_and_by_no_other() {
    bounded(async {
        let host = Host::start().await;
        let guest = host.rest("").guest("Ada").await.expect("a guest");
        let other = host.rest("").guest("Ben").await.expect("a guest");
        let raid = raid_of(&host, &guest.access_token).await;
        let mut wire = Wire::open(host.server.target(), Codec::Json, &guest.access_token).await;
        wire.watch(raid, None).await;
        assert_eq!(refused(&mut wire, &other.access_token).await, "forbidden");
        assert_eq!(
            refused(&mut wire, &host.token("ada", 60)).await,
            "forbidden",
            "a player of its own so far"
        );
        for bad in ["rubbish", &host.token("ada", -60)] {
            assert_eq!(refused(&mut wire, bad).await, "unauthenticated");
        }
        let link = json!({"token": host.token("ada-2", 60)});
        let (status, linked) = host
            .ask(Method::POST, "/api/v1/auth/link", &guest.access_token, link)
            .await;
        assert_eq!(status, StatusCode::OK, "{linked}");
        assert_eq!(
            welcomed(&mut wire, &host.token("ada-2", 60)).await,
            guest.player.id
        );
        assert_eq!(
            welcomed(&mut wire, &guest.access_token).await,
            guest.player.id
        );
        wire.say(raid, "still here, still me").await;
    })
    .await;
}

#[tokio::test]
async fn what_follows_a_renewal_is_handled_after_it() {
    bounded(async {
        let host = Host::start().await;
        let token = host.token("ada", 600);
        let raid = raid_of(&host, &token).await;
        let mut wire = Wire::open(host.server.target(), Codec::MessagePack, &token).await;
        wire.watch(raid, None).await;
        wire.send(hello(&host.token("ada", 900))).await;
        let number = wire
            .ask(
                raid,
                None,
                Command::Say {
                    text: "after".into(),
                },
            )
            .await;
        wire.heard.clear();
        wire.answer(number).await.expect("it may talk");
        let first = wire
            .heard
            .iter()
            .find(|message| !matches!(***message, ServerMessage::Beat { .. }));
        assert!(
            matches!(
                first.map(|message| &**message),
                Some(ServerMessage::Welcome { .. })
            ),
            "{:?}",
            wire.heard
        );
    })
    .await;
}

#[tokio::test]
async fn whoever_is_banned_is_let_go_and_neither_token_brings_them_back() {
    bounded(async {
        let host = Host::start().await;
        let token = host.token("ada", 600);
        let raid = raid_of(&host, &token).await;
        let mut wire = Wire::open(host.server.target(), Codec::Json, &token).await;
        wire.watch(raid, None).await;
        let player = welcomed(&mut wire, &token).await;
        let admin = host.site.token(Scope::Admin, None, Duration::from_secs(60));
        let path = format!("/api/v1/admin/players/{player}/ban");
        let (status, _) = host
            .ask(Method::POST, &path, &admin, json!({"reason": "spam"}))
            .await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(wire.end().await.code, Some(CloseCode::Forbidden.code()));
        for token in [token, host.token("ada", 900)] {
            let mut wire = Wire::connect(host.server.target(), Codec::Json).await;
            wire.send(hello(&token)).await;
            assert_eq!(wire.end().await.code, Some(CloseCode::Forbidden.code()));
        }
        let (status, _) = host.ask(Method::DELETE, &path, &admin, Value::Null).await;
        assert_eq!(status, StatusCode::OK);
        let back = async {
            loop {
                let mut wire = Wire::connect(host.server.target(), Codec::Json).await;
                wire.send(hello(&host.token("ada", 900))).await;
                if wire.next_or_end().await.is_ok() {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), back)
            .await
            .expect("let in again");
    })
    .await;
}
