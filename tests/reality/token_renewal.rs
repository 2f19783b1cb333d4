//! A second `hello` renews a connection's token: our own, a host app's, nobody else's.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use raidhall::auth::Scope;
use raidhall_loadtest::client::RestClient;
use raidhall_loadtest::targets::Targets;
use raidhall_protocol::{
    ClientMessage, CloseCode, Codec, Command, PlayerId, RaidId, ServerMessage,
};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::process::{TestDatabase, TestServer};
use crate::raid_group::{long_raid, target};
use crate::test_socket::TestSocket;
use crate::with_timeout;

/// A server that believes a host app, and the host app's key.
struct HostAppFixture {
    database: TestDatabase,
    server: TestServer,
    signing: EncodingKey,
    _keys: NamedTempFile,
}

impl HostAppFixture {
    async fn start() -> HostAppFixture {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let x = data_encoding::BASE64URL_NOPAD.encode(pair.der_bytes());
        let mut keys = NamedTempFile::new().expect("a file");
        let set = json!({"keys": [{"kty": "OKP", "kid": "a", "crv": "Ed25519", "x": x}]});
        keys.write_all(set.to_string().as_bytes()).expect("written");
        let issuers = format!(
            r#"[{{issuer="https://host.example",audience="raids",jwks="{}"}}]"#,
            keys.path().display()
        );
        let site = TestDatabase::sqlite().await;
        let server = site.start_with(&[("AUTH__ISSUERS", &issuers)]).await;
        let signing = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).expect("a key");
        HostAppFixture {
            database: site,
            server,
            signing,
            _keys: keys,
        }
    }

    /// The host app's token for one of its users, good for so many seconds.
    fn host_app_token(&self, subject: &str, seconds: i64) -> String {
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

    async fn request(
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

    fn rest(&self, token: &str) -> RestClient {
        let target = target(self.server.target().address());
        RestClient::with_targets(Targets::from(target))
            .expect("doors")
            .with_token(token)
    }
}

/// Says hello again, and gives the player that the server welcomes.
async fn renew_and_get_player(wire: &mut TestSocket, token: &str) -> PlayerId {
    wire.send(hello_message(token)).await;
    let player = |message: &ServerMessage| match message {
        ServerMessage::Welcome { player, .. } => player.as_ref().map(|player| player.id),
        _ => None,
    };
    wire.wait_for(player).await
}

async fn renew_and_get_error(wire: &mut TestSocket, token: &str) -> String {
    wire.send(hello_message(token)).await;
    wire.wait_for_error("hello")
        .await
        .r#type
        .as_str()
        .to_owned()
}

fn hello_message(token: &str) -> ClientMessage {
    ClientMessage::Hello {
        token: token.to_owned(),
        client: None,
    }
}

async fn create_raid(host: &HostAppFixture, token: &str) -> RaidId {
    host.rest(token)
        .create_raid(&long_raid(2), None)
        .await
        .expect("a raid")
        .state
        .id
}

#[tokio::test]
async fn a_connection_is_renewed_only_by_tokens_of_its_player() {
    with_timeout(async {
        let host = HostAppFixture::start().await;
        let guest = host.rest("").sign_in_guest("Ada").await.expect("a guest");
        let other = host.rest("").sign_in_guest("Ben").await.expect("a guest");
        let raid = create_raid(&host, &guest.access_token).await;
        let mut wire = TestSocket::connect_authenticated(
            host.server.target(),
            Codec::Json,
            &guest.access_token,
        )
        .await;
        wire.watch(raid, None).await;
        assert_eq!(
            renew_and_get_error(&mut wire, &other.access_token).await,
            "forbidden"
        );
        assert_eq!(
            renew_and_get_error(&mut wire, &host.host_app_token("ada", 60)).await,
            "forbidden",
            "a player of its own so far"
        );
        for bad in ["rubbish", &host.host_app_token("ada", -60)] {
            assert_eq!(renew_and_get_error(&mut wire, bad).await, "unauthenticated");
        }
        let link = json!({"token": host.host_app_token("ada-2", 60)});
        let (status, linked) = host
            .request(Method::POST, "/api/v1/auth/link", &guest.access_token, link)
            .await;
        assert_eq!(status, StatusCode::OK, "{linked}");
        assert_eq!(
            renew_and_get_player(&mut wire, &host.host_app_token("ada-2", 60)).await,
            guest.player.id
        );
        assert_eq!(
            renew_and_get_player(&mut wire, &guest.access_token).await,
            guest.player.id
        );
        wire.say(raid, "still here, still me").await;
    })
    .await;
}

#[tokio::test]
async fn messages_after_a_token_renewal_are_handled_after_it() {
    with_timeout(async {
        let host = HostAppFixture::start().await;
        let token = host.host_app_token("ada", 600);
        let raid = create_raid(&host, &token).await;
        let mut wire =
            TestSocket::connect_authenticated(host.server.target(), Codec::MessagePack, &token)
                .await;
        wire.watch(raid, None).await;
        wire.send(hello_message(&host.host_app_token("ada", 900)))
            .await;
        let number = wire
            .send_command(
                raid,
                None,
                Command::Say {
                    text: "after".into(),
                },
            )
            .await;
        wire.received.clear();
        wire.wait_for_result(number).await.expect("it may talk");
        let first = wire
            .received
            .iter()
            .find(|message| !matches!(***message, ServerMessage::Beat { .. }));
        assert!(
            matches!(
                first.map(|message| &**message),
                Some(ServerMessage::Welcome { .. })
            ),
            "{:?}",
            wire.received
        );
    })
    .await;
}

#[tokio::test]
async fn a_banned_player_is_disconnected_and_no_token_lets_them_back() {
    with_timeout(async {
        let host = HostAppFixture::start().await;
        let token = host.host_app_token("ada", 600);
        let raid = create_raid(&host, &token).await;
        let mut wire =
            TestSocket::connect_authenticated(host.server.target(), Codec::Json, &token).await;
        wire.watch(raid, None).await;
        let player = renew_and_get_player(&mut wire, &token).await;
        let admin = host
            .database
            .token(Scope::Admin, None, Duration::from_secs(60));
        let path = format!("/api/v1/admin/players/{player}/ban");
        let (status, _) = host
            .request(Method::POST, &path, &admin, json!({"reason": "spam"}))
            .await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            wire.wait_for_close().await.code,
            Some(CloseCode::Forbidden.code())
        );
        for token in [token, host.host_app_token("ada", 900)] {
            let mut wire = TestSocket::connect(host.server.target(), Codec::Json).await;
            wire.send(hello_message(&token)).await;
            assert_eq!(
                wire.wait_for_close().await.code,
                Some(CloseCode::Forbidden.code())
            );
        }
        let (status, _) = host
            .request(Method::DELETE, &path, &admin, Value::Null)
            .await;
        assert_eq!(status, StatusCode::OK);
        let back = async {
            loop {
                let mut wire = TestSocket::connect(host.server.target(), Codec::Json).await;
                wire.send(hello_message(&host.host_app_token("ada", 900)))
                    .await;
                if wire.try_next_message().await.is_ok() {
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
