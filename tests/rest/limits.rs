//! How often is too often.

use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::json;

use crate::rest_server::{RestServer, json_text, limit};

#[tokio::test(start_paused = true)]
async fn guest_sign_ins_of_one_address_are_limited_to_sixty_a_minute() {
    let house = RestServer::start().await;
    for _ in 0..60 {
        house.sign_in_guest("Ada").await;
    }
    let answer = house.post("/auth/guest", "", json!({"name": "Ada"})).await;
    let named = [
        "retry-after",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ];
    assert_eq!(
        named.map(|name| answer.headers[name].to_str().expect("text")),
        ["1", "60", "0", "60"]
    );
    assert_eq!(answer.expect_error("rate_limited")["retry_after_ms"], 1000);
    tokio::time::advance(Duration::from_secs(1)).await;
    house.sign_in_guest("Ada").await;
}

#[tokio::test(start_paused = true)]
async fn invite_code_guesses_are_limited_and_reveal_nothing() {
    let house = RestServer::start().await;
    let (ada, bob) = (
        house.guest_token("Ada").await,
        house.guest_token("Bob").await,
    );
    let raid = house.create_raid(&ada).await;
    let right = json!({"invite_code": raid["invite_code"]});
    for _ in 0..50 {
        house
            .post("/raids/join", &ada, right.clone())
            .await
            .expect_data(200);
    }
    for _ in 0..20 {
        house
            .post("/raids/join", &bob, json!({"invite_code": "22222222"}))
            .await
            .expect_error("not_found");
    }
    house
        .post("/raids/join", &bob, json!({"invite_code": "22222222"}))
        .await
        .expect_error("rate_limited");
    house
        .post("/raids/join", &bob, right.clone())
        .await
        .expect_error("rate_limited");
    house
        .post("/raids/join", &ada, right.clone())
        .await
        .expect_data(200);
    for guest in 0..4 {
        let token = house.guest_token(&format!("Guest {guest}")).await;
        for _ in 0..20 {
            house
                .post("/raids/join", &token, json!({"invite_code": "22222222"}))
                .await
                .expect_error("not_found");
        }
    }
    let fresh = house.guest_token("One more").await;
    house
        .post("/raids/join", &fresh, right.clone())
        .await
        .expect_error("rate_limited");
    tokio::time::advance(Duration::from_secs(3)).await;
    house
        .post("/raids/join", &bob, right)
        .await
        .expect_data(200);
}

#[tokio::test(start_paused = true)]
async fn a_player_over_the_command_limit_gets_a_retry_time() {
    let house = RestServer::start_with(|config| config.http.commands_per_second = limit(10)).await;
    let token = house.guest_token("Ada").await;
    let raid = house.create_raid(&token).await;
    let say = json!({"type": "say", "text": "again"});
    for _ in 0..9 {
        house
            .send_command(&raid["id"], &token, say.clone())
            .await
            .expect_data(200);
    }
    let error = house
        .send_command(&raid["id"], &token, say.clone())
        .await
        .expect_error("rate_limited");
    assert_eq!(error["retry_after_ms"], 100);
    tokio::time::advance(Duration::from_millis(100)).await;
    house
        .send_command(&raid["id"], &token, say)
        .await
        .expect_data(200);
}

/// What an answer says about its limit: how many there may be, how many are left, seconds until all are.
fn rate_limit_headers(headers: &HeaderMap) -> [u32; 3] {
    ["limit", "remaining", "reset"].map(|name| {
        let value = headers
            .get(format!("x-ratelimit-{name}"))
            .unwrap_or_else(|| panic!("no {name}"));
        value.to_str().expect("text").parse().expect("a number")
    })
}

#[tokio::test(start_paused = true)]
async fn every_response_of_a_limited_route_states_what_is_left() {
    let house = RestServer::start_with(|config| {
        config.http.rest_reads_per_minute = limit(12);
        config.http.rest_writes_per_minute = limit(6);
    })
    .await;
    let signed_in = house.post("/auth/guest", "", json!({"name": "Ada"})).await;
    assert_eq!(rate_limit_headers(&signed_in.headers), [60, 59, 1]);
    let pair = signed_in.expect_data(201);
    let (token, refresh) = (
        json_text(&pair["access_token"]),
        json_text(&pair["refresh_token"]),
    );
    let renewed = house
        .post("/auth/refresh", "", json!({"refresh_token": refresh}))
        .await;
    assert_eq!(rate_limit_headers(&renewed.headers), [600, 599, 1]);
    assert_eq!(
        rate_limit_headers(&house.get("/me", &token).await.headers),
        [12, 11, 5]
    );
    assert_eq!(
        rate_limit_headers(&house.get("/raids/1", &token).await.headers),
        [12, 10, 10],
        "a failure counts too"
    );
    let new = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2});
    assert_eq!(
        rate_limit_headers(&house.post("/raids", &token, new.clone()).await.headers),
        [6, 5, 10]
    );
    for _ in 0..5 {
        house
            .post("/raids", &token, new.clone())
            .await
            .expect_data(201);
    }
    let refused = house.post("/raids", &token, new.clone()).await;
    assert_eq!(rate_limit_headers(&refused.headers), [6, 0, 60]);
    assert_eq!(refused.headers["retry-after"], "10");
    assert_eq!(
        refused.expect_error("rate_limited")["retry_after_ms"],
        10_000
    );
    house.get("/me", &token).await.expect_data(200);
    tokio::time::advance(Duration::from_secs(10)).await;
    house.post("/raids", &token, new).await.expect_data(201);
}

#[tokio::test(start_paused = true)]
async fn one_address_is_limited_to_the_requests_of_ten_players() {
    let house = RestServer::start_with(|config| config.http.rest_reads_per_minute = limit(5)).await;
    let mut first = None;
    for number in 0..10 {
        let token = house.guest_token(&format!("Player {number}")).await;
        for _ in 0..5 {
            house.get("/me", &token).await.expect_data(200);
        }
        house.get("/me", &token).await.expect_error("rate_limited");
        first.get_or_insert(token);
    }
    let eleventh = house.guest_token("Eleventh").await;
    let refused = house.get("/me", &eleventh).await;
    assert_eq!(rate_limit_headers(&refused.headers)[..2], [50, 0]);
    refused.expect_error("rate_limited");
    tokio::time::advance(Duration::from_secs(13)).await;
    house.get("/me", &eleventh).await.expect_data(200);
    house
        .get("/me", &first.expect("a first"))
        .await
        .expect_data(200);
}

#[tokio::test(start_paused = true)]
async fn token_refreshes_are_rate_limited() {
    let house =
        RestServer::start_with(|config| config.http.guest_signins_per_minute = limit(1)).await;
    let wrong = json!({"refresh_token": "no such token"});
    for _ in 0..10 {
        house
            .post("/auth/refresh", "", wrong.clone())
            .await
            .expect_error("unauthenticated");
    }
    house
        .post("/auth/refresh", "", wrong.clone())
        .await
        .expect_error("rate_limited");
    tokio::time::advance(Duration::from_secs(6)).await;
    house
        .post("/auth/refresh", "", wrong)
        .await
        .expect_error("unauthenticated");
}

#[tokio::test(start_paused = true)]
async fn the_backend_is_not_rate_limited() {
    let house = RestServer::start_with(|config| config.http.rest_reads_per_minute = limit(1)).await;
    let service = house.scoped_token(raidhall::auth::Scope::Service);
    let raid = house.create_raid(&house.guest_token("Ada").await).await;
    for _ in 0..50 {
        house
            .get(&format!("/raids/{}", raid["id"]), &service)
            .await
            .expect_data(200);
    }
}
