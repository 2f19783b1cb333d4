//! A banned or signed-out player is disconnected within two seconds at every instance, with and
//! without a bus.

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

/// How soon the connections must end.
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

fn admin_token(cluster: &Cluster) -> String {
    cluster
        .database
        .token(Scope::Admin, None, Duration::from_secs(60))
}

/// Signs in a guest with a raid and a watching connection at each instance.
async fn create_watcher(cluster: &Cluster, name: &str) -> (TokenPair, RaidId, Vec<TestSocket>) {
    let rest = RestClient::with_targets(cluster.targets.clone()).expect("a REST client");
    let pair = rest.sign_in_guest(name).await.expect("a guest");
    let raid = rest
        .with_token(&pair.access_token)
        .create_raid(&long_raid(2), None)
        .await
        .expect("a raid")
        .state
        .id;
    let mut sockets = Vec::new();
    for index in 0..cluster.servers.len() {
        sockets.push(cluster.open_socket(index, raid, &pair.access_token).await);
    }
    (pair, raid, sockets)
}

/// Asserts that every connection is closed with this code in time.
async fn assert_all_closed(sockets: Vec<TestSocket>, code: CloseCode) {
    let since = Instant::now();
    for mut socket in sockets {
        let closed = timeout(
            CLOSE_TIMEOUT.saturating_sub(since.elapsed()),
            socket.wait_for_close(),
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
        let cluster = Cluster::start(2).await;
        let (pair, raid, sockets) = create_watcher(&cluster, "Ada").await;
        let (_, theirs, mut bystanders) = create_watcher(&cluster, "Ben").await;
        let path = format!("/api/v1/admin/players/{}/ban", pair.player.id);
        let body = json!({"reason": "spam"});
        let (status, answer) = request(
            &cluster.servers[0],
            Method::POST,
            &path,
            &admin_token(&cluster),
            body,
        )
        .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_all_closed(sockets, CloseCode::Forbidden).await;
        for server in &cluster.servers {
            let mut socket = TestSocket::connect(server.target(), Codec::Json).await;
            let hello = ClientMessage::Hello {
                token: pair.access_token.clone(),
                client: None,
            };
            socket.send(hello).await;
            assert_eq!(
                socket.wait_for_close().await.code,
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
        // Other players stay connected: their commands are answered.
        for socket in &mut bystanders {
            socket.say(theirs, "still here").await;
        }
        create_watcher(&cluster, "Cy").await;
    })
    .await;
}

#[tokio::test]
async fn a_sign_out_and_a_disconnect_reach_every_instance_without_a_bus() {
    with_timeout(async {
        let cluster = Cluster::start(2).await;
        let (pair, _, sockets) = create_watcher(&cluster, "Ada").await;
        let (other, _, others) = create_watcher(&cluster, "Ben").await;
        for bus in &cluster.bus_proxies {
            bus.hold(&[Direction::ToServer, Direction::ToClient]);
        }
        let (status, answer) = request(
            &cluster.servers[1],
            Method::POST,
            "/api/v1/auth/sign-out",
            &pair.access_token,
            Value::Null,
        )
        .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_all_closed(sockets, CloseCode::Unauthenticated).await;
        let path = format!("/api/v1/admin/players/{}/disconnect", other.player.id);
        let (status, answer) = request(
            &cluster.servers[0],
            Method::POST,
            &path,
            &admin_token(&cluster),
            Value::Null,
        )
        .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_all_closed(others, CloseCode::Unauthenticated).await;
        // A disconnected player is not banned, and is not disconnected a second time for the same
        // notice.
        let mut socket = TestSocket::connect_authenticated(
            cluster.servers[1].target(),
            Codec::Json,
            &other.access_token,
        )
        .await;
        tokio::time::sleep(CLOSE_TIMEOUT).await;
        let hello = ClientMessage::Hello {
            token: other.access_token.clone(),
            client: None,
        };
        socket.send(hello).await;
        let welcomed = |message: &ServerMessage| {
            matches!(message, ServerMessage::Welcome { .. }).then_some(())
        };
        socket.wait_for(welcomed).await;
        let hello = ClientMessage::Hello {
            token: pair.access_token,
            client: None,
        };
        socket.send(hello).await;
        assert_eq!(
            socket.wait_for_error("hello").await.r#type.as_str(),
            "unauthenticated"
        );
    })
    .await;
}

#[tokio::test]
async fn a_ban_survives_a_restart_of_every_instance() {
    with_timeout(async {
        let mut cluster = Cluster::start(1).await;
        let (pair, _, sockets) = create_watcher(&cluster, "Ada").await;
        let path = format!("/api/v1/admin/players/{}/ban", pair.player.id);
        let token = admin_token(&cluster);
        request(
            &cluster.servers[0],
            Method::POST,
            &path,
            &token,
            json!({"reason": "spam"}),
        )
        .await;
        assert_all_closed(sockets, CloseCode::Forbidden).await;
        cluster.kill(0).await;
        cluster.restart(0).await;
        let (status, _) = request(
            &cluster.servers[0],
            Method::GET,
            "/api/v1/me",
            &pair.access_token,
            Value::Null,
        )
        .await;
        assert_eq!(
            status,
            StatusCode::FORBIDDEN,
            "the restarted instance knows the ban from its start"
        );
        let (_, rows) = request(
            &cluster.servers[0],
            Method::GET,
            "/api/v1/admin/audit",
            &token,
            Value::Null,
        )
        .await;
        assert_eq!(rows["data"][0]["action"], "ban", "{rows}");
        drop(RaidGroup::create_on(&cluster.targets, 2, &long_raid(2)).await);
    })
    .await;
}
