//! Webhooks to a receiver that accepts them, refuses them, hangs, or comes back, while servers die.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::StatusCode;
use raidhall::auth::Scope;
use raidhall_loadtest::client::RestClient;
use raidhall_loadtest::target::Target;
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::{Command, RaidId};
use reqwest::{Client, Method};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::process::{TestDatabase, TestServer};
use crate::raid_group::long_raid;
use crate::webhook_receiver::{ENDPOINTS, ReceivedWebhook, WebhookReceiver};
use crate::with_timeout;

/// Starts a database, a webhook receiver, a server that delivers to it, and a player's REST client.
async fn start_fixture() -> (TestDatabase, WebhookReceiver, TestServer, RestClient) {
    let database = TestDatabase::sqlite().await;
    let receiver = WebhookReceiver::start().await;
    let server = start_server(&database, &receiver).await;
    let (ada, _) = sign_in(server.target(), "Ada").await;
    (database, receiver, server, ada)
}

async fn start_server(database: &TestDatabase, receiver: &WebhookReceiver) -> TestServer {
    let server = database
        .start_with(&[(ENDPOINTS, &receiver.endpoints_setting())])
        .await;
    wait_for_dispatcher(database, server.target()).await;
    server
}

/// Waits until an instance delivers: every later event causes a delivery.
async fn wait_for_dispatcher(database: &TestDatabase, target: &Target) {
    crate::wait_until("an instance delivers", async || {
        request_admin(database, target, Method::GET, "", Value::Null).await["data"][0]["owner"]
            .is_string()
    })
    .await;
}

/// Sends a request to the operators' webhook API.
async fn request_admin(
    database: &TestDatabase,
    target: &Target,
    method: Method,
    path: &str,
    body: Value,
) -> Value {
    let token = database.token(Scope::Admin, None, Duration::from_secs(600));
    let url = target.url(&format!("/api/v1/admin/webhooks{path}"));
    let client = Client::builder().no_proxy().build().expect("a client");
    let request = client.request(method, url).bearer_auth(token);
    let request = if body.is_null() {
        request
    } else {
        request.json(&body)
    };
    request
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON")
}

/// Signs in a guest; returns a REST client with the player's token, and the player's id.
async fn sign_in(target: &Target, name: &str) -> (RestClient, raidhall_protocol::PlayerId) {
    let rest = RestClient::new(target).expect("a REST client");
    let pair = rest.sign_in_guest(name).await.expect("a guest");
    (rest.with_token(&pair.access_token), pair.player.id)
}

/// Creates this many raids; the joining of each leader causes one delivery.
async fn create_raids(rest: &RestClient, count: usize) -> Vec<RaidId> {
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(
            rest.create_raid(&long_raid(2), None)
                .await
                .expect("a raid")
                .state
                .id,
        );
    }
    made
}

fn raid_positions(got: &[ReceivedWebhook]) -> Vec<(u64, u64)> {
    let number =
        |got: &ReceivedWebhook, key: &str| got.body["data"][key].as_u64().expect("a number");
    got.iter()
        .map(|got| (number(got, "raid"), number(got, "seq")))
        .collect()
}

fn expected_positions(raids: &[RaidId]) -> BTreeSet<(u64, u64)> {
    raids.iter().map(|raid| (raid.get(), 2)).collect()
}

#[tokio::test]
async fn webhook_messages_arrive_once_signed_and_in_order() {
    with_timeout(async {
        let (_site, receiver, server, ada) = start_fixture().await;
        let (ben, ben_id) = sign_in(server.target(), "Ben").await;
        let new = NewRaid {
            target_xp: 5,
            target_tasks: 0,
            ..long_raid(3)
        };
        let raid = ada.create_raid(&new, None).await.expect("a raid").state;
        ben.join_raid(&raid.invite_code).await.expect("joined");
        for command in [
            Command::Start,
            Command::Say {
                text: "not sent to webhooks".into(),
            },
            Command::AddTask {
                title: "One".into(),
                xp: 5,
                minutes: 1,
            },
            Command::Kick { player: ben_id },
            Command::ClaimTask {
                task: 1_u64.try_into().expect("an id"),
            },
            Command::CompleteTask {
                task: 1_u64.try_into().expect("an id"),
            },
        ] {
            ada.send_command(raid.id, None, &command)
                .await
                .expect("done");
        }
        let lost = create_raids(&ada, 1).await[0];
        ada.send_command(lost, None, &Command::Cancel)
            .await
            .expect("done");
        let got = receiver.wait_for_received(7).await;
        let types: Vec<_> = got
            .iter()
            .map(|got| got.body["type"].as_str().expect("a type"))
            .collect();
        let of_first = [
            "member.joined",
            "member.joined",
            "raid.started",
            "member.left",
            "raid.completed",
        ]
        .map(Some);
        let first = || {
            got.iter()
                .filter(|got| got.body["data"]["raid"] == json!(raid.id))
        };
        assert!(
            first().map(|got| got.body["type"].as_str()).eq(of_first),
            "{types:?}"
        );
        assert!(
            first().any(|got| got.body["data"]["reason"] == "kicked")
                && types.contains(&"raid.failed")
        );
        let ids: BTreeSet<_> = got.iter().map(|got| got.id.clone()).collect();
        assert_eq!(ids.len(), got.len());
        assert!(got.iter().all(|got| got.has_valid_signature
            && got.id.ends_with(&format!("_{}", got.body["data"]["seq"]))));
    })
    .await;
}

#[tokio::test]
async fn a_refused_delivery_is_retried_with_the_same_id() {
    with_timeout(async {
        let (database, receiver, server, ada) = start_fixture().await;
        receiver.set_status(StatusCode::SERVICE_UNAVAILABLE);
        let first = create_raids(&ada, 1).await;
        receiver.wait_for_received(1).await;
        let waiting = || {
            request_admin(
                &database,
                server.target(),
                Method::GET,
                "/app/deliveries",
                Value::Null,
            )
        };
        crate::wait_until("the delivery waits for a retry", async || {
            waiting().await["data"][0]["attempts"] == 1
        })
        .await;
        assert_eq!(
            waiting().await["data"][0]["error"],
            "answered with 503 Service Unavailable"
        );
        receiver.set_status(StatusCode::NO_CONTENT);
        let more = create_raids(&ada, 3).await;
        let got = receiver.wait_for_received(5).await;
        assert_eq!(got.iter().filter(|one| one.id == got[0].id).count(), 2);
        let all = expected_positions(&[first, more].concat());
        assert_eq!(BTreeSet::from_iter(raid_positions(&got)), all);
        crate::wait_until("no delivery waits", async || {
            waiting().await["data"] == json!([])
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_answers_410_is_paused_until_resumed() {
    with_timeout(async {
        let (database, receiver, server, ada) = start_fixture().await;
        receiver.set_status(StatusCode::GONE);
        let first = create_raids(&ada, 1).await;
        let state = || request_admin(&database, server.target(), Method::GET, "", Value::Null);
        crate::wait_until("the endpoint is paused", async || {
            state().await["data"][0]["paused"].is_string()
        })
        .await;
        receiver.set_status(StatusCode::OK);
        let more = create_raids(&ada, 2).await;
        server.kill().await;
        let server = database
            .start_with(&[(ENDPOINTS, &receiver.endpoints_setting())])
            .await;
        assert_eq!(
            receiver.received().len(),
            1,
            "a paused endpoint gets nothing, even from a restarted server"
        );
        let resumed = request_admin(
            &database,
            server.target(),
            Method::POST,
            "/app/resume",
            Value::Null,
        )
        .await;
        assert_eq!(resumed["data"]["resumed"], true);
        let got = receiver.wait_for_received(4).await;
        assert_eq!(
            BTreeSet::from_iter(raid_positions(&got)),
            expected_positions(&[first, more].concat())
        );
    })
    .await;
}

#[tokio::test]
async fn deliveries_continue_after_a_kill_and_do_not_delay_a_stop() {
    with_timeout(async {
        let (database, receiver, server, ada) = start_fixture().await;
        let mut made = create_raids(&ada, 3).await;
        receiver.wait_for_received(3).await;
        receiver.set_hanging(true);
        made.extend(create_raids(&ada, 5).await);
        receiver.wait_for_requests(4).await;
        server.kill().await;
        let mut server = start_server(&database, &receiver).await;
        // The receiver still hangs, which must not delay the server's exit.
        receiver.wait_for_requests(9).await;
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(Duration::from_secs(10)).await, Some(0));
        receiver.set_hanging(false);
        let _server = start_server(&database, &receiver).await;
        let all = expected_positions(&made);
        crate::wait_until("all deliveries are received", async || {
            BTreeSet::from_iter(raid_positions(&receiver.received())) == all
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn one_instance_delivers_and_another_takes_over_when_it_dies() {
    with_timeout(async {
        let receiver = WebhookReceiver::start().await;
        let mut cluster = Cluster::start_on(
            TestDatabase::postgres().await,
            2,
            &[(ENDPOINTS, &receiver.endpoints_setting())],
        )
        .await;
        wait_for_dispatcher(&cluster.database, cluster.servers[1].target()).await;
        let (ada, _) = sign_in(cluster.servers[1].target(), "Ada").await;
        let mut made = create_raids(&ada, 20).await;
        let got = receiver.wait_for_received(20).await;
        assert_eq!(
            (got.len(), BTreeSet::from_iter(raid_positions(&got))),
            (20, expected_positions(&made)),
            "each delivery arrives once"
        );
        // The instance that started first delivers.
        let owner = request_admin(
            &cluster.database,
            cluster.servers[1].target(),
            Method::GET,
            "",
            Value::Null,
        )
        .await;
        cluster.kill(0).await;
        made.extend(create_raids(&ada, 20).await);
        let all = expected_positions(&made);
        crate::wait_until("all deliveries are received", async || {
            BTreeSet::from_iter(raid_positions(&receiver.received())) == all
        })
        .await;
        let successor = request_admin(
            &cluster.database,
            cluster.servers[1].target(),
            Method::GET,
            "",
            Value::Null,
        )
        .await;
        assert_ne!(owner["data"][0]["owner"], successor["data"][0]["owner"]);
    })
    .await;
}
