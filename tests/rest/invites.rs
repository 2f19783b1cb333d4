//! Tests of `GET /invites/{code}`: what an invite code shows to anyone.

use std::time::Duration;

use raidhall::auth::Scope;
use serde_json::{Value, json};

use crate::rest_server::{RestServer, json_text};

/// Creates a raid for two players that Ada leads. Returns Ada's tokens and the raid.
async fn create_invited_raid(server: &RestServer) -> (Value, Value) {
    let ada = server.sign_in_guest("Ada").await;
    let new = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2, "max_members": 2});
    let raid = server
        .post("/raids", &json_text(&ada["access_token"]), new)
        .await
        .expect_data(201);
    (ada, raid)
}

fn invite_path(raid: &Value) -> String {
    format!("/invites/{}", json_text(&raid["invite_code"]))
}

async fn look(server: &RestServer, raid: &Value) -> Value {
    server.get(&invite_path(raid), "").await.expect_data(200)
}

#[tokio::test(start_paused = true)]
async fn an_invite_shows_its_raid_without_sign_in() {
    let server = RestServer::start().await;
    let (ada, raid) = create_invited_raid(&server).await;
    let token = json_text(&ada["access_token"]);
    let expected = json!({"id": raid["id"], "title": "Ship it", "host": "Ada", "status": "recruiting",
        "member_count": 1, "max_members": 2, "late_join": false, "deadline": null});
    assert_eq!(look(&server, &raid).await, expected);
    let lower = invite_path(&raid).to_lowercase();
    assert_eq!(server.get(&lower, "").await.expect_data(200), expected);
    // A token, valid or not, makes no difference.
    for token in [&token, "x"] {
        let answer = server.get(&invite_path(&raid), token).await;
        assert_eq!(answer.expect_data(200), expected);
    }

    let ben = server.guest_token("Ben").await;
    let code = json!({"invite_code": raid["invite_code"]});
    server
        .post("/raids/join", &ben, code)
        .await
        .expect_data(200);
    server
        .send_command(&raid["id"], &token, json!({"type": "start"}))
        .await
        .expect_data(200);
    let active = look(&server, &raid).await;
    assert_eq!(
        (&active["status"], &active["member_count"]),
        (&json!("active"), &json!(2))
    );
    assert!(active["deadline"].is_i64());

    server
        .send_command(&raid["id"], &token, json!({"type": "cancel"}))
        .await
        .expect_data(200);
    let ended = look(&server, &raid).await;
    assert_eq!(
        (&ended["status"], &ended["deadline"]),
        (&json!("failed"), &json!(null))
    );
}

#[tokio::test(start_paused = true)]
async fn the_invite_of_a_raid_past_its_deadline_shows_the_defeat() {
    let server = RestServer::start().await;
    let (ada, raid) = create_invited_raid(&server).await;
    server
        .send_command(
            &raid["id"],
            &json_text(&ada["access_token"]),
            json!({"type": "start"}),
        )
        .await
        .expect_data(200);
    tokio::time::advance(Duration::from_secs(86_401)).await;
    assert_eq!(look(&server, &raid).await["status"], "failed");
}

#[tokio::test(start_paused = true)]
async fn wrong_invite_codes_share_the_limit_of_joining() {
    let server = RestServer::start().await;
    let (_, raid) = create_invited_raid(&server).await;
    let bob = server.guest_token("Bob").await;
    for _ in 0..150 {
        look(&server, &raid).await; // a right code costs no guess
    }
    for wrong in ["22222222", "%00", "a%20b", "%C3%A9"]
        .iter()
        .cycle()
        .take(100)
    {
        let answer = server.get(&format!("/invites/{wrong}"), "").await;
        answer.expect_error("not_found");
    }
    for path in ["/invites/22222222", &invite_path(&raid)] {
        server.get(path, "").await.expect_error("rate_limited");
    }
    let right = json!({"invite_code": raid["invite_code"]});
    server
        .post("/raids/join", &bob, right)
        .await
        .expect_error("rate_limited");
    tokio::time::advance(Duration::from_secs(3)).await;
    look(&server, &raid).await;
}

#[tokio::test(start_paused = true)]
async fn requests_without_sign_in_are_limited_per_address() {
    let server = RestServer::start_with(|config| {
        config.http.rest_reads_per_minute = 2.try_into().expect("not zero");
    })
    .await;
    let (_, raid) = create_invited_raid(&server).await;
    for _ in 0..20 {
        look(&server, &raid).await;
    }
    server
        .get(&invite_path(&raid), "")
        .await
        .expect_error("rate_limited");
}

#[tokio::test(start_paused = true)]
async fn the_invite_of_an_erased_host_names_the_next_leader_or_none() {
    let server = RestServer::start().await;
    let (ada, raid) = create_invited_raid(&server).await;
    let (eve, alone) = create_invited_raid(&server).await;
    let ben = server.guest_token("Ben").await;
    let code = json!({"invite_code": raid["invite_code"]});
    server
        .post("/raids/join", &ben, code)
        .await
        .expect_data(200);
    for host in [ada, eve] {
        let token = json_text(&host["access_token"]);
        server
            .request("DELETE /me", &token, &[], Value::Null)
            .await
            .expect_data(202);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (shown, closed) = (look(&server, &raid).await, look(&server, &alone).await);
    assert_eq!(
        (&shown["title"], &shown["host"], &shown["member_count"]),
        (&json!("[erased]"), &json!("Ben"), &json!(1))
    );
    assert_eq!(
        (&closed["title"], &closed["host"], &closed["status"]),
        (&json!("[erased]"), &json!(null), &json!("failed"))
    );
}

#[tokio::test(start_paused = true)]
async fn the_invite_of_a_banned_host_stays_as_members_see_it() {
    let server = RestServer::start().await;
    let (ada, raid) = create_invited_raid(&server).await;
    let before = look(&server, &raid).await;
    let ban = format!("/admin/players/{}/ban", ada["player"]["id"]);
    server
        .post(
            &ban,
            &server.scoped_token(Scope::Admin),
            json!({"reason": "spam"}),
        )
        .await
        .expect_data(200);
    assert_eq!(look(&server, &raid).await, before);
}
