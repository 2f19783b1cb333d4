//! Whoever may not be here any more is gone within two seconds, at every instance, with and without a bus.

use std::time::Duration;

use raidhall::auth::Scope;
use raidhall_loadtest::client::RestClient;
use raidhall_protocol::rest::TokenPair;
use raidhall_protocol::{ClientMessage, CloseCode, Codec, RaidId, ServerMessage};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::cluster::Cluster;
use crate::process::TestServer;
use crate::proxy::Direction;
use crate::raid_group::{RaidGroup, long_raid};
use crate::test_socket::TestSocket;
use crate::with_timeout;

/// How soon connections end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

async fn request(
    server: &TestServer,
    method: Method,
    path: &str,
    token: &str,
    body: Value,
) -> (StatusCode, Value) {
    let client = Client::builder().no_proxy().build().expect("a client");
    let request = client
        .request(method, server.target().url(path))
        .bearer_auth(token)
        .json(&body);
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    (status, answer.json().await.unwrap_or_default())
}

fn admin_token(fleet: &Cluster) -> String {
    fleet
        .database
        .token(Scope::Admin, None, Duration::from_secs(60))
}

/// A guest who watches a raid of their own at each instance.
async fn create_watcher(fleet: &Cluster, name: &str) -> (TokenPair, RaidId, Vec<TestSocket>) {
    let rest = RestClient::with_targets(fleet.targets.clone()).expect("doors");
    let pair = rest.sign_in_guest(name).await.expect("a guest");
    let raid = rest
        .with_token(&pair.access_token)
        .create_raid(&long_raid(2), None)
        .await
        .expect("a raid")
        .state
        .id;
    let mut wires = Vec::new();
    for index in 0..fleet.servers.len() {
        wires.push(fleet.open_socket(index, raid, &pair.access_token).await);
    }
    (pair, raid, wires)
}

/// Every connection ends with this code, soon.
async fn assert_all_closed(wires: Vec<TestSocket>, code: CloseCode) {
    let since = Instant::now();
    for mut wire in wires {
        let closed = timeout(
            CLOSE_TIMEOUT.saturating_sub(since.elapsed()),
            wire.wait_for_close(),
        )
        .await;
        assert_eq!(
            closed.expect("closed in time").code,
            Some(code.code()),
            "after {:?}",
            since.elapsed()
        );
    }
}

#[tokio::test]
async fn a_ban_ends_the_players_connections_at_every_instance() {
    with_timeout(async {
        let fleet = Cluster::start(2).await;
        let (pair, raid, wires) = create_watcher(&fleet, "Ada").await;
        let (_, theirs, mut bystanders) = create_watcher(&fleet, "Ben").await;
        let path = format!("/api/v1/admin/players/{}/ban", pair.player.id);
        let body = json!({"reason": "spam"});
        let (status, answer) = request(
            &fleet.servers[0],
            Method::POST,
            &path,
            &admin_token(&fleet),
            body,
        )
        .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_all_closed(wires, CloseCode::Forbidden).await;
        for server in &fleet.servers {
            let mut wire = TestSocket::connect(server.target(), Codec::Json).await;
            let hello = ClientMessage::Hello {
                token: pair.access_token.clone(),
                client: None,
            };
            wire.send(hello).await;
            assert_eq!(
                wire.wait_for_close().await.code,
                Some(CloseCode::Forbidden.code())
            );
            let path = format!("/api/v1/raids/{raid}");
            let (status, answer) =
                request(server, Method::GET, &path, &pair.access_token, Value::Null).await;
            assert_eq!(
                (status, &answer["error"]["type"]),
                (StatusCode::FORBIDDEN, &json!("forbidden"))
            );
        }
        // Nobody else was let go: there are answers.
        for wire in &mut bystanders {
            wire.say(theirs, "still here").await;
        }
        create_watcher(&fleet, "Cy").await;
    })
    .await;
}

#[tokio::test]
async fn a_sign_out_and_a_disconnect_reach_every_instance_without_a_bus() {
    with_timeout(async {
        let fleet = Cluster::start(2).await;
        let (pair, _, wires) = create_watcher(&fleet, "Ada").await;
        let (other, _, others) = create_watcher(&fleet, "Ben").await;
        for bus in &fleet.bus_proxies {
            bus.hold(&[Direction::ToServer, Direction::ToClient]);
        }
        let (status, answer) = request(
            &fleet.servers[1],
            Method::POST,
            "/api/v1/auth/sign-out",
            &pair.access_token,
            Value::Null,
        )
        .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_all_closed(wires, CloseCode::Unauthenticated).await;
        let path = format!("/api/v1/admin/players/{}/disconnect", other.player.id);
        let (status, answer) = request(
            &fleet.servers[0],
            Method::POST,
            &path,
            &admin_token(&fleet),
            Value::Null,
        )
        .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_all_closed(others, CloseCode::Unauthenticated).await;
        // Who was disconnected is not banned, and is not let go again for the same reason.
        let mut wire = TestSocket::connect_authenticated(
            fleet.servers[1].target(),
            Codec::Json,
            &other.access_token,
        )
        .await;
        tokio::time::sleep(CLOSE_TIMEOUT).await;
        let hello = ClientMessage::Hello {
            token: other.access_token.clone(),
            client: None,
        };
        wire.send(hello).await;
        let welcomed = |message: &ServerMessage| {
            matches!(message, ServerMessage::Welcome { .. }).then_some(())
        };
        wire.wait_for(welcomed).await;
        let hello = ClientMessage::Hello {
            token: pair.access_token,
            client: None,
        };
        wire.send(hello).await;
        assert_eq!(
            wire.wait_for_error("hello").await.r#type.as_str(),
            "unauthenticated"
        );
    })
    .await;
}

#[tokio::test]
async fn a_ban_survives_a_restart_of_every_instance() {
    with_timeout(async {
        let mut fleet = Cluster::start(1).await;
        let (pair, _, wires) = create_watcher(&fleet, "Ada").await;
        let path = format!("/api/v1/admin/players/{}/ban", pair.player.id);
        let token = admin_token(&fleet);
        request(
            &fleet.servers[0],
            Method::POST,
            &path,
            &token,
            json!({"reason": "spam"}),
        )
        .await;
        assert_all_closed(wires, CloseCode::Forbidden).await;
        fleet.kill(0).await;
        fleet.restart(0).await;
        let (status, _) = request(
            &fleet.servers[0],
            Method::GET,
            "/api/v1/me",
            &pair.access_token,
            Value::Null,
        )
        .await;
        assert_eq!(status, StatusCode::FORBIDDEN, "from its first moment on");
        let (_, rows) = request(
            &fleet.servers[0],
            Method::GET,
            "/api/v1/admin/audit",
            &token,
            Value::Null,
        )
        .await;
        assert_eq!(rows["data"][0]["action"], "ban", "{rows}");
        drop(RaidGroup::create_on(&fleet.targets, 2, &long_raid(2)).await);
    })
    .await;
}
