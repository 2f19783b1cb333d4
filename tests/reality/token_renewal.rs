//! A second `hello` renews a connection's token: by the server's own or a host app's token, but
//! only of the same player.

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

/// A server that trusts a host app as an issuer, and the host app's key.
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
        let database = TestDatabase::sqlite().await;
        let server = database.start_with(&[("AUTH__ISSUERS", &issuers)]).await;
        let signing = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).expect("a key");
        HostAppFixture {
            database,
            server,
            signing,
            _keys: keys,
        }
    }

    /// Returns the host app's token for one of its users, valid for this many seconds.
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
            .expect("a REST client")
            .with_token(token)
    }
}

/// Sends another hello, and returns the player that the server welcomes.
async fn renew_and_get_player(socket: &mut TestSocket, token: &str) -> PlayerId {
    socket.send(hello_message(token)).await;
    let player = |message: &ServerMessage| match message {
        ServerMessage::Welcome { player, .. } => player.as_ref().map(|player| player.id),
        _ => None,
    };
    socket.wait_for(player).await
}

async fn renew_and_get_error(socket: &mut TestSocket, token: &str) -> String {
    socket.send(hello_message(token)).await;
    socket
        .wait_for_error("hello")
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
        let mut socket = TestSocket::connect_authenticated(
            host.server.target(),
            Codec::Json,
            &guest.access_token,
        )
        .await;
        socket.watch(raid, None).await;
        assert_eq!(
            renew_and_get_error(&mut socket, &other.access_token).await,
            "forbidden"
        );
        assert_eq!(
            renew_and_get_error(&mut socket, &host.host_app_token("ada", 60)).await,
            "forbidden",
            "the external identity is not linked yet"
        );
        for bad in ["rubbish", &host.host_app_token("ada", -60)] {
            assert_eq!(
                renew_and_get_error(&mut socket, bad).await,
                "unauthenticated"
            );
        }
        let link = json!({"token": host.host_app_token("ada-2", 60)});
        let (status, linked) = host
            .request(Method::POST, "/api/v1/auth/link", &guest.access_token, link)
            .await;
        assert_eq!(status, StatusCode::OK, "{linked}");
        assert_eq!(
            renew_and_get_player(&mut socket, &host.host_app_token("ada-2", 60)).await,
            guest.player.id
        );
        assert_eq!(
            renew_and_get_player(&mut socket, &guest.access_token).await,
            guest.player.id
        );
        socket.say(raid, "still here, still me").await;
    })
    .await;
}

#[tokio::test]
async fn messages_after_a_token_renewal_are_handled_after_it() {
    with_timeout(async {
        let host = HostAppFixture::start().await;
        let token = host.host_app_token("ada", 600);
        let raid = create_raid(&host, &token).await;
        let mut socket =
            TestSocket::connect_authenticated(host.server.target(), Codec::MessagePack, &token)
                .await;
        socket.watch(raid, None).await;
        socket
            .send(hello_message(&host.host_app_token("ada", 900)))
            .await;
        let number = socket
            .send_command(
                raid,
                None,
                Command::Say {
                    text: "after".into(),
                },
            )
            .await;
        socket.received.clear();
        socket
            .wait_for_result(number)
            .await
            .expect("the command is accepted");
        let first = socket
            .received
            .iter()
            .find(|message| !matches!(***message, ServerMessage::Beat { .. }));
        assert!(
            matches!(
                first.map(|message| &**message),
                Some(ServerMessage::Welcome { .. })
            ),
            "{:?}",
            socket.received
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
        let mut socket =
            TestSocket::connect_authenticated(host.server.target(), Codec::Json, &token).await;
        socket.watch(raid, None).await;
        let player = renew_and_get_player(&mut socket, &token).await;
        let admin = host
            .database
            .token(Scope::Admin, None, Duration::from_secs(60));
        let path = format!("/api/v1/admin/players/{player}/ban");
        let (status, _) = host
            .request(Method::POST, &path, &admin, json!({"reason": "spam"}))
            .await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            socket.wait_for_close().await.code,
            Some(CloseCode::Forbidden.code())
        );
        for token in [token, host.host_app_token("ada", 900)] {
            let mut socket = TestSocket::connect(host.server.target(), Codec::Json).await;
            socket.send(hello_message(&token)).await;
            assert_eq!(
                socket.wait_for_close().await.code,
                Some(CloseCode::Forbidden.code())
            );
        }
        let (status, _) = host
            .request(Method::DELETE, &path, &admin, Value::Null)
            .await;
        assert_eq!(status, StatusCode::OK);
        let back = async {
            loop {
                let mut socket = TestSocket::connect(host.server.target(), Codec::Json).await;
                socket
                    .send(hello_message(&host.host_app_token("ada", 900)))
                    .await;
                if socket.try_next_message().await.is_ok() {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), back)
            .await
            .expect("admitted again");
    })
    .await;
}
