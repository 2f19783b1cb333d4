//! Tests of guest sign-in, of token refreshes, and of requests without a valid token.

use std::time::Duration;

use raidhall::store::faulty::Call;
use serde_json::{Value, json};

use crate::rest_server::{RestServer, json_text};

#[tokio::test(start_paused = true)]
async fn a_guest_signs_in_with_a_name_and_gets_an_account() {
    let server = RestServer::start().await;
    let pair = server.sign_in_guest("  Ada ").await;
    assert_eq!(
        (&pair["player"]["name"], &pair["expires_in"]),
        (&json!("Ada"), &json!(900))
    );
    let me = server
        .get("/me", &json_text(&pair["access_token"]))
        .await
        .expect_data(200);
    assert_eq!(
        (&me["id"], &me["name"], &me["xp"]),
        (&pair["player"]["id"], &json!("Ada"), &json!(0))
    );
    assert_ne!(
        server.sign_in_guest("Ada").await["player"]["id"],
        pair["player"]["id"],
        "two players may have the same name"
    );
}

#[tokio::test(start_paused = true)]
async fn an_invalid_guest_name_is_refused_and_creates_no_player() {
    let server = RestServer::start().await;
    for body in [
        json!({}),
        json!({"name": 7}),
        json!({"name": " "}),
        json!({"name": "\u{200b}"}),
        json!({"name": "Ada\u{202e}"}),
        json!({"name": "x".repeat(41)}),
    ] {
        assert_eq!(
            server.post("/auth/guest", "", body).await.invalid_fields(),
            ["name"]
        );
    }
    assert_eq!(server.store.faults().call_count(Call::CreatePlayer), 0);
}

#[tokio::test(start_paused = true)]
async fn guest_sign_in_can_be_disabled() {
    let server = RestServer::start_with(|config| config.auth.can_guests_sign_in = false).await;
    server
        .post("/auth/guest", "", json!({"name": "Ada"}))
        .await
        .expect_error("forbidden");
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_valid_token_are_unauthenticated() {
    let server = RestServer::start().await;
    let token = server.guest_token("Ada").await;
    for path in [
        "/me",
        "/raids",
        "/raids/1",
        "/raids/1/events",
        "/raids/1/contributions",
    ] {
        let answer = server.get(path, "").await;
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        answer.expect_error("unauthenticated");
        server
            .get(path, "rubbish")
            .await
            .expect_error("unauthenticated");
    }
    for path in ["/raids", "/raids/join", "/raids/1/commands"] {
        server
            .post(path, "", json!({}))
            .await
            .expect_error("unauthenticated");
    }
    let basic = [("authorization", "Basic QWRhOng=")];
    server
        .request("GET /me", "", &basic, json!(null))
        .await
        .expect_error("unauthenticated");
    tokio::time::advance(Duration::from_secs(899)).await;
    server.get("/me", &token).await.expect_data(200);
    tokio::time::advance(Duration::from_secs(1)).await;
    server
        .get("/me", &token)
        .await
        .expect_error("unauthenticated");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_and_its_repeat_return_the_same_token_pair() {
    let server = RestServer::start().await;
    let first = server.sign_in_guest("Ada").await;
    let refresh = |token: &Value| server.post("/auth/refresh", "", json!({"refresh_token": token}));
    let second = refresh(&first["refresh_token"]).await.expect_data(200);
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    assert_eq!(second["player"], first["player"]);
    server
        .get("/me", &json_text(&second["access_token"]))
        .await
        .expect_data(200);
    tokio::time::advance(Duration::from_secs(8 * 3_600)).await;
    let repeated = refresh(&first["refresh_token"]).await.expect_data(200);
    assert_eq!(
        repeated["refresh_token"], second["refresh_token"],
        "the client may have lost the first response, and slept"
    );
    let third = refresh(&second["refresh_token"]).await.expect_data(200);
    assert_ne!(third["refresh_token"], second["refresh_token"]);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_used_after_its_successor_ends_the_sign_in() {
    let server = RestServer::start().await;
    let first = server.sign_in_guest("Ada").await;
    let refresh = |token: &Value| server.post("/auth/refresh", "", json!({"refresh_token": token}));
    let second = refresh(&first["refresh_token"]).await.expect_data(200);
    let third = refresh(&second["refresh_token"]).await.expect_data(200);
    for token in [&first, &second, &third] {
        refresh(&token["refresh_token"])
            .await
            .expect_error("unauthenticated");
    }
    refresh(&json!("rubbish"))
        .await
        .expect_error("unauthenticated");
    assert_eq!(
        refresh(&json!(null)).await.invalid_fields(),
        ["refresh_token"]
    );
    let other = server.sign_in_guest("Bob").await;
    refresh(&other["refresh_token"]).await.expect_data(200);
}

#[tokio::test(start_paused = true)]
async fn a_request_during_a_store_outage_may_be_retried() {
    let server = RestServer::start().await;
    let token = server.guest_token("Ada").await;
    server.store.faults().fail_calls(Call::Player, 1);
    let error = server.get("/me", &token).await.expect_error("unavailable");
    assert_eq!(
        (&error["retry"], &error["retry_after_ms"]),
        (&json!(true), &json!(500))
    );
    server.get("/me", &token).await.expect_data(200);
}
