//! Whoever may not be here any more is gone within two seconds, at every instance, with and without a bus.

use std::time::Duration;

use raidhall::auth::Scope;
use raidhall_loadtest::client::Rest;
use raidhall_protocol::rest::TokenPair;
use raidhall_protocol::{ClientMessage, CloseCode, Codec, RaidId, ServerMessage};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::bounded;
use crate::fleet::Fleet;
use crate::party::{Party, long_raid};
use crate::process::Server;
use crate::proxy::Way;
use crate::wire::Wire;

/// How soon connections end.
const SOON: Duration = Duration::from_secs(2);

async fn ask(
    server: &Server,
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

fn admin(fleet: &Fleet) -> String {
    fleet
        .site
        .token(Scope::Admin, None, Duration::from_secs(60))
}

/// A guest who watches a raid of their own at each instance.
async fn watcher(fleet: &Fleet, name: &str) -> (TokenPair, RaidId, Vec<Wire>) {
    let rest = Rest::over(fleet.targets.clone()).expect("doors");
    let pair = rest.guest(name).await.expect("a guest");
    let raid = rest
        .with_token(&pair.access_token)
        .create(&long_raid(2), None)
        .await
        .expect("a raid")
        .state
        .id;
    let mut wires = Vec::new();
    for index in 0..fleet.servers.len() {
        wires.push(fleet.wire(index, raid, &pair.access_token).await);
    }
    (pair, raid, wires)
}

/// Every connection ends with this code, soon.
async fn all_end(wires: Vec<Wire>, code: CloseCode) {
    let since = Instant::now();
    for mut wire in wires {
        let closed = timeout(SOON.saturating_sub(since.elapsed()), wire.end()).await;
        assert_eq!(
            closed.expect("closed in time").code,
            Some(code.code()),
            "after {:?}",
            since.elapsed()
        );
    }
}

#[tokio::test]
async fn the_connections_of_a_banned_player_end_at_every_instance_and_none_is_made() {
    bounded(async {
        let fleet = Fleet::of(2).await;
        let (pair, raid, wires) = watcher(&fleet, "Ada").await;
        let (_, theirs, mut bystanders) = watcher(&fleet, "Ben").await;
        let path = format!("/api/v1/admin/players/{}/ban", pair.player.id);
        let body = json!({"reason": "spam"});
        let (status, answer) =
            ask(&fleet.servers[0], Method::POST, &path, &admin(&fleet), body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        all_end(wires, CloseCode::Forbidden).await;
        for server in &fleet.servers {
            let mut wire = Wire::connect(server.target(), Codec::Json).await;
            let hello = ClientMessage::Hello {
                token: pair.access_token.clone(),
                client: None,
            };
            wire.send(hello).await;
            assert_eq!(wire.end().await.code, Some(CloseCode::Forbidden.code()));
            let path = format!("/api/v1/raids/{raid}");
            let (status, answer) =
                ask(server, Method::GET, &path, &pair.access_token, Value::Null).await;
            assert_eq!(
                (status, &answer["error"]["type"]),
                (StatusCode::FORBIDDEN, &json!("forbidden"))
            );
        }
        // Nobody else was let go: there are answers.
        for wire in &mut bystanders {
            wire.say(theirs, "still here").await;
        }
        watcher(&fleet, "Cy").await;
    })
    .await;
}

#[tokio::test]
async fn a_sign_out_and_a_disconnection_reach_every_instance_though_the_bus_is_cut() {
    bounded(async {
        let fleet = Fleet::of(2).await;
        let (pair, _, wires) = watcher(&fleet, "Ada").await;
        let (other, _, others) = watcher(&fleet, "Ben").await;
        for bus in &fleet.buses {
            bus.hold(&[Way::ToServer, Way::ToClient]);
        }
        let (status, answer) = ask(
            &fleet.servers[1],
            Method::POST,
            "/api/v1/auth/sign-out",
            &pair.access_token,
            Value::Null,
        )
        .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        all_end(wires, CloseCode::Unauthenticated).await;
        let path = format!("/api/v1/admin/players/{}/disconnect", other.player.id);
        let (status, answer) = ask(
            &fleet.servers[0],
            Method::POST,
            &path,
            &admin(&fleet),
            Value::Null,
        )
        .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        all_end(others, CloseCode::Unauthenticated).await;
        // Who was disconnected is not banned, and is not let go again for the same reason.
        let mut wire =
            Wire::open(fleet.servers[1].target(), Codec::Json, &other.access_token).await;
        tokio::time::sleep(SOON).await;
        let hello = ClientMessage::Hello {
            token: other.access_token.clone(),
            client: None,
        };
        wire.send(hello).await;
        let welcomed = |message: &ServerMessage| {
            matches!(message, ServerMessage::Welcome { .. }).then_some(())
        };
        wire.seek(welcomed).await;
        let hello = ClientMessage::Hello {
            token: pair.access_token,
            client: None,
        };
        wire.send(hello).await;
        assert_eq!(wire.error("hello").await.r#type.as_str(), "unauthenticated");
    })
    .await;
}

#[tokio::test]
async fn a_ban_outlives_every_instance() {
    bounded(async {
        let mut fleet = Fleet::of(1).await;
        let (pair, _, wires) = watcher(&fleet, "Ada").await;
        let path = format!("/api/v1/admin/players/{}/ban", pair.player.id);
        let token = admin(&fleet);
        ask(
            &fleet.servers[0],
            Method::POST,
            &path,
            &token,
            json!({"reason": "spam"}),
        )
        .await;
        all_end(wires, CloseCode::Forbidden).await;
        fleet.kill(0).await;
        fleet.restart(0).await;
        let (status, _) = ask(
            &fleet.servers[0],
            Method::GET,
            "/api/v1/me",
            &pair.access_token,
            Value::Null,
        )
        .await;
        assert_eq!(status, StatusCode::FORBIDDEN, "from its first moment on");
        let (_, rows) = ask(
            &fleet.servers[0],
            Method::GET,
            "/api/v1/admin/audit",
            &token,
            Value::Null,
        )
        .await;
        assert_eq!(rows["data"][0]["action"], "ban", "{rows}");
        drop(Party::gather_over(&fleet.targets, 2, &long_raid(2)).await);
    })
    .await;
}
