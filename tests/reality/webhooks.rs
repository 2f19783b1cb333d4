//! Webhooks to a receiver that takes them, refuses them, hangs, or comes back, while servers die.

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

/// A site, who is told of what happens there, a server that tells it, and a player.
async fn start_fixture() -> (TestDatabase, WebhookReceiver, TestServer, RestClient) {
    let (site, receiver) = (TestDatabase::sqlite().await, WebhookReceiver::start().await);
    let server = start_server(&site, &receiver).await;
    let (ada, _) = sign_in(server.target(), "Ada").await;
    (site, receiver, server, ada)
}

async fn start_server(site: &TestDatabase, receiver: &WebhookReceiver) -> TestServer {
    let server = site
        .start_with(&[(ENDPOINTS, &receiver.endpoints_setting())])
        .await;
    wait_for_dispatcher(site, server.target()).await;
    server
}

/// Waits until somebody delivers: what happens from then on is told.
async fn wait_for_dispatcher(site: &TestDatabase, target: &Target) {
    crate::wait_until("somebody delivers", async || {
        request_admin(site, target, Method::GET, "", Value::Null).await["data"][0]["owner"]
            .is_string()
    })
    .await;
}

/// What an operator asks of the webhooks.
async fn request_admin(
    site: &TestDatabase,
    target: &Target,
    method: Method,
    path: &str,
    body: Value,
) -> Value {
    let token = site.token(Scope::Admin, None, Duration::from_secs(600));
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

/// A player's doors.
async fn sign_in(target: &Target, name: &str) -> (RestClient, raidhall_protocol::PlayerId) {
    let rest = RestClient::new(target).expect("doors");
    let pair = rest.sign_in_guest(name).await.expect("a guest");
    (rest.with_token(&pair.access_token), pair.player.id)
}

/// Makes so many raids; of each its leader's joining is told.
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
                text: "told to nobody".into(),
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
        let (site, receiver, server, ada) = start_fixture().await;
        receiver.set_status(StatusCode::SERVICE_UNAVAILABLE);
        let first = create_raids(&ada, 1).await;
        receiver.wait_for_received(1).await;
        let waiting = || {
            request_admin(
                &site,
                server.target(),
                Method::GET,
                "/app/deliveries",
                Value::Null,
            )
        };
        crate::wait_until("it waits", async || {
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
        crate::wait_until("nothing waits", async || {
            waiting().await["data"] == json!([])
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_answers_410_is_paused_until_resumed() {
    with_timeout(async {
        let (site, receiver, server, ada) = start_fixture().await;
        receiver.set_status(StatusCode::GONE);
        let first = create_raids(&ada, 1).await;
        let state = || request_admin(&site, server.target(), Method::GET, "", Value::Null);
        crate::wait_until("it is paused", async || {
            state().await["data"][0]["paused"].is_string()
        })
        .await;
        receiver.set_status(StatusCode::OK);
        let more = create_raids(&ada, 2).await;
        server.kill().await;
        let server = site
            .start_with(&[(ENDPOINTS, &receiver.endpoints_setting())])
            .await;
        assert_eq!(receiver.received().len(), 1, "paused is paused");
        let resumed = request_admin(
            &site,
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
        let (site, receiver, server, ada) = start_fixture().await;
        let mut made = create_raids(&ada, 3).await;
        receiver.wait_for_received(3).await;
        receiver.set_hanging(true);
        made.extend(create_raids(&ada, 5).await);
        receiver.wait_for_requests(4).await;
        server.kill().await;
        let mut server = start_server(&site, &receiver).await;
        // It hangs still, and holds nobody's end up.
        receiver.wait_for_requests(9).await;
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(Duration::from_secs(10)).await, Some(0));
        receiver.set_hanging(false);
        let _server = start_server(&site, &receiver).await;
        let all = expected_positions(&made);
        crate::wait_until("all is told", async || {
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
        let mut fleet = Cluster::start_on(
            TestDatabase::postgres().await,
            2,
            &[(ENDPOINTS, &receiver.endpoints_setting())],
        )
        .await;
        wait_for_dispatcher(&fleet.database, fleet.servers[1].target()).await;
        let (ada, _) = sign_in(fleet.servers[1].target(), "Ada").await;
        let mut made = create_raids(&ada, 20).await;
        let got = receiver.wait_for_received(20).await;
        assert_eq!(
            (got.len(), BTreeSet::from_iter(raid_positions(&got))),
            (20, expected_positions(&made)),
            "each once"
        );
        // Whoever started first has it.
        let owner = request_admin(
            &fleet.database,
            fleet.servers[1].target(),
            Method::GET,
            "",
            Value::Null,
        )
        .await;
        fleet.kill(0).await;
        made.extend(create_raids(&ada, 20).await);
        let all = expected_positions(&made);
        crate::wait_until("all is told", async || {
            BTreeSet::from_iter(raid_positions(&receiver.received())) == all
        })
        .await;
        let heir = request_admin(
            &fleet.database,
            fleet.servers[1].target(),
            Method::GET,
            "",
            Value::Null,
        )
        .await;
        assert_ne!(owner["data"][0]["owner"], heir["data"][0]["owner"]);
    })
    .await;
}
