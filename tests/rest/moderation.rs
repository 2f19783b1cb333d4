//! Tests of sign-outs, of bans and of the lifting of bans.

use std::time::Duration;

use raidhall::auth::Scope;
use raidhall::store::faulty::Call;
use serde_json::{Value, json};

use crate::rest_server::{RestServer, json_text};

/// The longest time until every route refuses a revoked token.
const PROPAGATION_MAX: Duration = Duration::from_secs(2);

async fn ban_player(server: &RestServer, pair: &Value) -> String {
    let path = format!("/admin/players/{}/ban", pair["player"]["id"]);
    server
        .post(
            &path,
            &server.scoped_token(Scope::Admin),
            json!({"reason": "spam"}),
        )
        .await
        .expect_data(200);
    tokio::time::sleep(PROPAGATION_MAX).await;
    path
}

#[tokio::test(start_paused = true)]
async fn a_sign_out_ends_its_own_sign_in_and_no_other() {
    let server = RestServer::start().await;
    let phone = server.sign_in_guest("Ada").await;
    let laptop = server.sign_in_guest("Ada").await;
    let token = json_text(&phone["access_token"]);
    let answer = server
        .post("/auth/sign-out", &token, Value::Null)
        .await
        .expect_data(200);
    assert_eq!(answer, json!({"signed_out": true}));
    tokio::time::sleep(PROPAGATION_MAX).await;
    server
        .get("/me", &token)
        .await
        .expect_error("unauthenticated");
    server
        .post("/auth/sign-out", &token, Value::Null)
        .await
        .expect_error("unauthenticated");
    let refresh = json!({"refresh_token": phone["refresh_token"]});
    server
        .post("/auth/refresh", "", refresh)
        .await
        .expect_error("unauthenticated");
    server
        .get("/me", &json_text(&laptop["access_token"]))
        .await
        .expect_data(200);
    server
        .post("/auth/sign-out", "", Value::Null)
        .await
        .expect_error("unauthenticated");
    server
        .post(
            "/auth/sign-out",
            &server.scoped_token(Scope::Service),
            Value::Null,
        )
        .await
        .expect_error("forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_reused_refresh_token_revokes_the_access_tokens() {
    let server = RestServer::start().await;
    let first = server.sign_in_guest("Ada").await;
    let refresh = |token: &Value| server.post("/auth/refresh", "", json!({"refresh_token": token}));
    let second = refresh(&first["refresh_token"]).await.expect_data(200);
    refresh(&second["refresh_token"]).await.expect_data(200);
    server
        .get("/me", &json_text(&second["access_token"]))
        .await
        .expect_data(200);
    refresh(&first["refresh_token"])
        .await
        .expect_error("unauthenticated");
    tokio::time::sleep(PROPAGATION_MAX).await;
    server
        .get("/me", &json_text(&second["access_token"]))
        .await
        .expect_error("unauthenticated");
}

#[tokio::test(start_paused = true)]
async fn a_banned_player_is_refused_everywhere_until_the_ban_is_lifted() {
    let server = RestServer::start().await;
    let pair = server.sign_in_guest("Ada").await;
    let other = server.guest_token("Ben").await;
    let token = json_text(&pair["access_token"]);
    let admin = server.scoped_token(Scope::Admin);
    let raid = server.create_raid(&token).await;
    let path = ban_player(&server, &pair).await;
    for path in [
        "/me".to_owned(),
        "/raids".to_owned(),
        format!("/raids/{}", raid["id"]),
    ] {
        server.get(&path, &token).await.expect_error("forbidden");
    }
    server
        .send_command(&raid["id"], &token, json!({"type": "start"}))
        .await
        .expect_error("forbidden");
    let refresh = json!({"refresh_token": pair["refresh_token"]});
    server
        .post("/auth/refresh", "", refresh.clone())
        .await
        .expect_error("forbidden");
    server.get("/me", &other).await.expect_data(200);
    let bans = server.get("/admin/bans", &admin).await.expect_data(200);
    assert_eq!(
        (&bans[0]["player"], &bans[0]["reason"], &bans[0]["by"]),
        (&pair["player"], &json!("spam"), &json!("admin:backend"))
    );

    server
        .request(&format!("DELETE {path}"), &admin, &[], Value::Null)
        .await
        .expect_data(200);
    tokio::time::sleep(PROPAGATION_MAX).await;
    server.get("/me", &token).await.expect_data(200);
    server
        .post("/auth/refresh", "", refresh)
        .await
        .expect_data(200);
    server
        .request(&format!("DELETE {path}"), &admin, &[], Value::Null)
        .await
        .expect_error("not_found");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_checked_without_a_store_query() {
    let server = RestServer::start().await;
    let token = server.guest_token("Ada").await;
    // The pollers' first calls have been made, and the next ones are not due while the time stands.
    tokio::time::sleep(Duration::from_millis(10)).await;
    let before = [Call::Notices, Call::Bans].map(|call| server.store.faults().call_count(call));
    for _ in 0..100 {
        server
            .get("/raids/1", &token)
            .await
            .expect_error("not_found");
    }
    assert_eq!(
        [Call::Notices, Call::Bans].map(|call| server.store.faults().call_count(call)),
        before
    );
}

#[tokio::test(start_paused = true)]
async fn known_bans_hold_during_a_store_outage() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let ben = server.guest_token("Ben").await;
    ban_player(&server, &ada).await;
    server.store.faults().fail_calls(Call::Notices, 5);
    tokio::time::sleep(Duration::from_secs(3)).await;
    server
        .get("/me", &json_text(&ada["access_token"]))
        .await
        .expect_error("forbidden");
    server.get("/me", &ben).await.expect_data(200);
    let ben = server.get("/me", &ben).await.expect_data(200)["id"].clone();
    let admin = server.scoped_token(Scope::Admin);
    server
        .post(
            &format!("/admin/players/{ben}/ban"),
            &admin,
            json!({"reason": "x"}),
        )
        .await
        .expect_data(200);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(server.auth.is_banned(
        raidhall_protocol::PlayerId::try_from(ben.as_u64().expect("an id")).expect("an id")
    ));
}
