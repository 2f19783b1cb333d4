//! Secrets never reach the log, at any level: every secret is planted in every place where a client
//! or an operator can put one.

use std::time::Duration;

use raidhall_loadtest::client::RestClient;
use raidhall_protocol::rest::TokenPair;
use raidhall_protocol::{ClientMessage, Codec, Command};
use reqwest::Client;
use rustix::process::Signal;

use crate::process::TestDatabase;
use crate::raid_group::{RaidGroup, long_raid};
use crate::test_socket::TestSocket;
use crate::webhook_receiver::{ENDPOINTS, SECRET, WebhookReceiver};
use crate::{wait_until, with_timeout};

/// Stands for a secret in inputs that should not be logged at all.
const CANARY: &str = "canary-5d0f7c1e";

/// Sends secrets where they belong and where they do not.
async fn send_secrets(url: &str, tokens: &TokenPair, raid: u64) {
    let client = Client::new();
    let bearers = [
        tokens.access_token.clone(),
        CANARY.to_owned(),
        format!("{CANARY}.{CANARY}.{CANARY}"),
    ];
    for token in &bearers {
        for path in ["me", "raids", &format!("raids/{raid}"), "nothing"] {
            let request = client
                .get(format!("{url}/api/v1/{path}"))
                .bearer_auth(token);
            let _ = request.send().await.expect("an answer");
        }
    }
    for path in ["api/v1/invites", "i"] {
        let request = client.get(format!("{url}/{path}/{CANARY}"));
        let _ = request.send().await.expect("an answer");
    }
    let bodies = [
        (
            "auth/refresh",
            format!(r#"{{"refresh_token":"{}"}}"#, tokens.refresh_token),
        ),
        ("auth/refresh", format!(r#"{{"refresh_token":"{CANARY}"}}"#)),
        (
            "auth/refresh",
            format!(r#"{{"refresh_token":["{CANARY}"]}}"#),
        ),
        ("auth/guest", format!(r#"{{"name":"{CANARY}\u0000"}}"#)),
        ("raids/join", format!(r#"{{"invite_code":"{CANARY}"}}"#)),
        ("raids/join", format!(r#"{{"invite_code":"{CANARY}"#)),
        (
            "raids",
            format!(r#"{{"title":"{CANARY}","target_xp":"{CANARY}"}}"#),
        ),
    ];
    for (path, body) in bodies {
        let request = client
            .post(format!("{url}/api/v1/{path}"))
            .bearer_auth(&tokens.access_token);
        let request = request
            .header("content-type", "application/json")
            .header("cookie", CANARY);
        let _ = request
            .header("idempotency-key", CANARY)
            .body(body)
            .send()
            .await
            .expect("an answer");
    }
}

async fn assert_no_secret_is_logged(database: TestDatabase) {
    let receiver = WebhookReceiver::start().await;
    let server = database
        .start_with(&[
            ("TELEMETRY__LOG", "trace"),
            (ENDPOINTS, &receiver.endpoints_setting()),
        ])
        .await;
    let group = RaidGroup::create(server.target(), 1, &long_raid(1)).await;
    let rest = RestClient::with_targets((*server.target()).into()).expect("a REST client");
    let tokens = rest.sign_in_guest(CANARY).await.expect("a guest");
    let raid = group.raid;
    let invite = group.invite_code.clone();
    rest.with_token(&tokens.access_token)
        .join_raid(&invite)
        .await
        .expect("a member");
    for codec in Codec::ALL {
        let mut socket =
            TestSocket::connect_authenticated(server.target(), codec, &tokens.access_token).await;
        socket.watch(raid, None).await;
        let text = format!("{CANARY} as a chat");
        socket
            .execute(raid, Some(CANARY), Command::Say { text })
            .await
            .expect("said");
        socket
            .send(ClientMessage::Hello {
                token: CANARY.into(),
                client: None,
            })
            .await;
        socket.wait_for_error("hello").await;
    }
    let mut stranger = TestSocket::connect(server.target(), Codec::Json).await;
    stranger
        .send(ClientMessage::Hello {
            token: CANARY.into(),
            client: None,
        })
        .await;
    assert_eq!(stranger.wait_for_close().await.code, Some(4001));
    wait_until("the receiver has the member's webhook", async || {
        receiver
            .received()
            .iter()
            .any(|got| got.body["data"]["name"] == CANARY)
    })
    .await;
    let url = server.target().url("");
    send_secrets(url.trim_end_matches('/'), &tokens, raid.get()).await;
    let successor = tokens.refresh_token.clone();
    server.signal(Signal::TERM);
    let mut server = server;
    assert_eq!(server.exit_code(Duration::from_secs(40)).await, Some(0));

    let logged = database.logs();
    let witnesses = [
        "webhooks are delivered from here",
        "DEBUG",
        "answered",
        "welcome",
        "the connection ends",
        "\"stopped\"",
    ];
    assert!(
        witnesses.iter().all(|word| logged.contains(word)),
        "the log is incomplete"
    );
    let secret = "a secret for tests, of thirty-two bytes and more";
    let password = reqwest::Url::parse(&database.url())
        .ok()
        .and_then(|url| url.password().map(str::to_owned));
    let key = SECRET.trim_start_matches("whsec_");
    let secrets = [
        CANARY,
        secret,
        key,
        &tokens.access_token,
        &successor,
        &invite,
    ];
    for planted in secrets
        .into_iter()
        .chain(password.as_deref().filter(|password| password.len() > 3))
    {
        let line = logged.lines().find(|line| line.contains(planted));
        assert_eq!(line, None, "{planted} is logged");
    }
}

#[tokio::test]
async fn no_secret_is_logged_at_any_level_with_sqlite() {
    with_timeout(async { assert_no_secret_is_logged(TestDatabase::sqlite().await).await }).await;
}

#[tokio::test]
async fn no_secret_is_logged_at_any_level_with_postgres() {
    with_timeout(async { assert_no_secret_is_logged(TestDatabase::postgres().await).await }).await;
}
