//! Webhooks to a receiver that takes them, refuses them, hangs, or comes back, while servers die.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::StatusCode;
use raidhall::auth::Scope;
use raidhall_loadtest::client::Rest;
use raidhall_loadtest::target::Target;
use raidhall_protocol::rest::NewRaid;
use raidhall_protocol::{Command, RaidId};
use reqwest::{Client, Method};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bounded;
use crate::fleet::Fleet;
use crate::party::long_raid;
use crate::process::{Server, Site};
use crate::receiver::{ENDPOINTS, Got, Receiver};

/// A site, who is told of what happens there, a server that tells it, and a player.
async fn begun() -> (Site, Receiver, Server, Rest) {
    let (site, receiver) = (Site::sqlite().await, Receiver::open().await);
    let server = start(&site, &receiver).await;
    let (ada, _) = signed_in(server.target(), "Ada").await;
    (site, receiver, server, ada)
}

async fn start(site: &Site, receiver: &Receiver) -> Server {
    let server = site.start_with(&[(ENDPOINTS, &receiver.setting())]).await;
    ready(site, server.target()).await;
    server
}

/// Waits until somebody delivers: what happens from then on is told.
async fn ready(site: &Site, target: &Target) {
    crate::eventually("somebody delivers", async || {
        ask(site, target, Method::GET, "", Value::Null).await["data"][0]["owner"].is_string()
    })
    .await;
}

/// What an operator asks of the webhooks.
async fn ask(site: &Site, target: &Target, method: Method, path: &str, body: Value) -> Value {
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
async fn signed_in(target: &Target, name: &str) -> (Rest, raidhall_protocol::PlayerId) {
    let rest = Rest::new(target).expect("doors");
    let pair = rest.guest(name).await.expect("a guest");
    (rest.with_token(&pair.access_token), pair.player.id)
}

/// Makes so many raids; of each its leader's joining is told.
async fn raids(rest: &Rest, count: usize) -> Vec<RaidId> {
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(
            rest.create(&long_raid(2), None)
                .await
                .expect("a raid")
                .state
                .id,
        );
    }
    made
}

fn places(got: &[Got]) -> Vec<(u64, u64)> {
    let number = |got: &Got, key: &str| got.body["data"][key].as_u64().expect("a number");
    got.iter()
        .map(|got| (number(got, "raid"), number(got, "seq")))
        .collect()
}

fn told_of(raids: &[RaidId]) -> BTreeSet<(u64, u64)> {
    raids.iter().map(|raid| (raid.get(), 2)).collect()
}

#[tokio::test]
async fn all_that_is_told_comes_once_signed_and_in_order() {
    bounded(async {
        let (_site, receiver, server, ada) = begun().await;
        let (ben, ben_id) = signed_in(server.target(), "Ben").await;
        let new = NewRaid { target_xp: 5, target_tasks: 0, ..long_raid(3) };
        let raid = ada.create(&new, None).await.expect("a raid").state;
        ben.join(&raid.invite_code).await.expect("joined");
        for command in [
            Command::Start,
            Command::Say { text: "told to nobody".into() },
            Command::AddTask { title: "One".into(), xp: 5, minutes: 1 },
            Command::Kick { player: ben_id },
            Command::ClaimTask { task: 1_u64.try_into().expect("an id") },
            Command::CompleteTask { task: 1_u64.try_into().expect("an id") },
        ] {
            ada.command(raid.id, None, &command).await.expect("done");
        }
        let lost = raids(&ada, 1).await[0];
        ada.command(lost, None, &Command::Cancel).await.expect("done");
        let got = receiver.wait_for(7).await;
        let types: Vec<_> = got.iter().map(|got| got.body["type"].as_str().expect("a type")).collect();
        let of_first =
            ["member.joined", "member.joined", "raid.started", "member.left", "raid.completed"].map(Some);
        let first = || got.iter().filter(|got| got.body["data"]["raid"] == json!(raid.id));
        assert!(first().map(|got| got.body["type"].as_str()).eq(of_first), "{types:?}");
        assert!(first().any(|got| got.body["data"]["reason"] == "kicked") && types.contains(&"raid.failed"));
        let ids: BTreeSet<_> = got.iter().map(|got| got.id.clone()).collect();
        assert_eq!(ids.len(), got.len());
        assert!(
            got.iter().all(|got| got.signed && got.id.ends_with(&format!("_{}", got.body["data"]["seq"])))
        );
    })
    .await;
}

#[tokio::test]
async fn what_was_refused_comes_again_under_the_same_id() {
    bounded(async {
        let (site, receiver, server, ada) = begun().await;
        receiver.answer(StatusCode::SERVICE_UNAVAILABLE);
        let first = raids(&ada, 1).await;
        receiver.wait_for(1).await;
        let waiting = || {
            ask(
                &site,
                server.target(),
                Method::GET,
                "/app/deliveries",
                Value::Null,
            )
        };
        crate::eventually("it waits", async || {
            waiting().await["data"][0]["attempts"] == 1
        })
        .await;
        assert_eq!(
            waiting().await["data"][0]["error"],
            "answered with 503 Service Unavailable"
        );
        receiver.answer(StatusCode::NO_CONTENT);
        let more = raids(&ada, 3).await;
        let got = receiver.wait_for(5).await;
        assert_eq!(got.iter().filter(|one| one.id == got[0].id).count(), 2);
        let all = told_of(&[first, more].concat());
        assert_eq!(BTreeSet::from_iter(places(&got)), all);
        crate::eventually("nothing waits", async || {
            waiting().await["data"] == json!([])
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn who_wants_nothing_any_more_gets_nothing_until_an_operator_goes_on() {
    bounded(async {
        let (site, receiver, server, ada) = begun().await;
        receiver.answer(StatusCode::GONE);
        let first = raids(&ada, 1).await;
        let state = || ask(&site, server.target(), Method::GET, "", Value::Null);
        crate::eventually("it is paused", async || {
            state().await["data"][0]["paused"].is_string()
        })
        .await;
        receiver.answer(StatusCode::OK);
        let more = raids(&ada, 2).await;
        server.kill().await;
        let server = site.start_with(&[(ENDPOINTS, &receiver.setting())]).await;
        assert_eq!(receiver.got().len(), 1, "paused is paused");
        let resumed = ask(
            &site,
            server.target(),
            Method::POST,
            "/app/resume",
            Value::Null,
        )
        .await;
        assert_eq!(resumed["data"]["resumed"], true);
        let got = receiver.wait_for(4).await;
        assert_eq!(
            BTreeSet::from_iter(places(&got)),
            told_of(&[first, more].concat())
        );
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_killed_goes_on_and_one_that_is_told_to_end_does() {
    bounded(async {
        let (site, receiver, server, ada) = begun().await;
        let mut made = raids(&ada, 3).await;
        receiver.wait_for(3).await;
        receiver.hang(true);
        made.extend(raids(&ada, 5).await);
        receiver.wait_for_asked(4).await;
        server.kill().await;
        let mut server = start(&site, &receiver).await;
        // It hangs still, and holds nobody's end up.
        receiver.wait_for_asked(9).await;
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(Duration::from_secs(10)).await, Some(0));
        receiver.hang(false);
        let _server = start(&site, &receiver).await;
        let all = told_of(&made);
        crate::eventually("all is told", async || {
            BTreeSet::from_iter(places(&receiver.got())) == all
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn one_of_two_instances_delivers_and_the_other_when_it_dies() {
    bounded(async {
        let receiver = Receiver::open().await;
        let mut fleet = Fleet::on(
            Site::postgres().await,
            2,
            &[(ENDPOINTS, &receiver.setting())],
        )
        .await;
        ready(&fleet.site, fleet.servers[1].target()).await;
        let (ada, _) = signed_in(fleet.servers[1].target(), "Ada").await;
        let mut made = raids(&ada, 20).await;
        let got = receiver.wait_for(20).await;
        assert_eq!(
            (got.len(), BTreeSet::from_iter(places(&got))),
            (20, told_of(&made)),
            "each once"
        );
        // Whoever started first has it.
        let owner = ask(
            &fleet.site,
            fleet.servers[1].target(),
            Method::GET,
            "",
            Value::Null,
        )
        .await;
        fleet.kill(0).await;
        made.extend(raids(&ada, 20).await);
        let all = told_of(&made);
        crate::eventually("all is told", async || {
            BTreeSet::from_iter(places(&receiver.got())) == all
        })
        .await;
        let heir = ask(
            &fleet.site,
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
