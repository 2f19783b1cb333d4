//! How often is too often.

use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::json;

use crate::house::{House, text};

#[tokio::test(start_paused = true)]
async fn guests_of_one_address_come_one_by_one_beyond_a_minutes_worth() {
    let house = House::open().await;
    for _ in 0..60 {
        house.guest("Ada").await;
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
    assert_eq!(answer.failed("rate_limited")["retry_after_ms"], 1000);
    tokio::time::advance(Duration::from_secs(1)).await;
    house.guest("Ada").await;
}

#[tokio::test(start_paused = true)]
async fn guessing_invite_codes_ends_soon_and_tells_nothing_more() {
    let house = House::open().await;
    let (ada, bob) = (house.token("Ada").await, house.token("Bob").await);
    let raid = house.raid(&ada).await;
    let right = json!({"invite_code": raid["invite_code"]});
    for _ in 0..50 {
        house.post("/raids/join", &ada, right.clone()).await.ok(200);
    }
    for _ in 0..20 {
        house
            .post("/raids/join", &bob, json!({"invite_code": "22222222"}))
            .await
            .failed("not_found");
    }
    house
        .post("/raids/join", &bob, json!({"invite_code": "22222222"}))
        .await
        .failed("rate_limited");
    house
        .post("/raids/join", &bob, right.clone())
        .await
        .failed("rate_limited");
    house.post("/raids/join", &ada, right.clone()).await.ok(200);
    for guest in 0..4 {
        let token = house.token(&format!("Guest {guest}")).await;
        for _ in 0..20 {
            house
                .post("/raids/join", &token, json!({"invite_code": "22222222"}))
                .await
                .failed("not_found");
        }
    }
    let fresh = house.token("One more").await;
    house
        .post("/raids/join", &fresh, right.clone())
        .await
        .failed("rate_limited");
    tokio::time::advance(Duration::from_secs(3)).await;
    house.post("/raids/join", &bob, right).await.ok(200);
}

#[tokio::test(start_paused = true)]
async fn a_player_who_floods_is_told_when_to_go_on() {
    let house = House::with(|http, _| http.commands_per_second = 10).await;
    let token = house.token("Ada").await;
    let raid = house.raid(&token).await;
    let say = json!({"type": "say", "text": "again"});
    for _ in 0..9 {
        house
            .command(&raid["id"], &token, say.clone())
            .await
            .ok(200);
    }
    let error = house
        .command(&raid["id"], &token, say.clone())
        .await
        .failed("rate_limited");
    assert_eq!(error["retry_after_ms"], 100);
    tokio::time::advance(Duration::from_millis(100)).await;
    house.command(&raid["id"], &token, say).await.ok(200);
}

/// What an answer says about its limit: how many there may be, how many are left, seconds until all are.
fn told(headers: &HeaderMap) -> [u32; 3] {
    ["limit", "remaining", "reset"].map(|name| {
        let value = headers
            .get(format!("x-ratelimit-{name}"))
            .unwrap_or_else(|| panic!("no {name}"));
        value.to_str().expect("text").parse().expect("a number")
    })
}

#[tokio::test(start_paused = true)]
async fn every_answer_of_a_limited_kind_says_what_is_left() {
    let house = House::with(|http, _| {
        http.rest_reads_per_minute = 12;
        http.rest_writes_per_minute = 6;
    })
    .await;
    let signed_in = house.post("/auth/guest", "", json!({"name": "Ada"})).await;
    assert_eq!(told(&signed_in.headers), [60, 59, 1]);
    let pair = signed_in.ok(201);
    let (token, refresh) = (text(&pair["access_token"]), text(&pair["refresh_token"]));
    let renewed = house
        .post("/auth/refresh", "", json!({"refresh_token": refresh}))
        .await;
    assert_eq!(told(&renewed.headers), [600, 599, 1]);
    assert_eq!(told(&house.get("/me", &token).await.headers), [12, 11, 5]);
    assert_eq!(
        told(&house.get("/raids/1", &token).await.headers),
        [12, 10, 10],
        "a failure counts too"
    );
    let new = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2});
    assert_eq!(
        told(&house.post("/raids", &token, new.clone()).await.headers),
        [6, 5, 10]
    );
    for _ in 0..5 {
        house.post("/raids", &token, new.clone()).await.ok(201);
    }
    let refused = house.post("/raids", &token, new.clone()).await;
    assert_eq!(told(&refused.headers), [6, 0, 60]);
    assert_eq!(refused.headers["retry-after"], "10");
    assert_eq!(refused.failed("rate_limited")["retry_after_ms"], 10_000);
    house.get("/me", &token).await.ok(200);
    tokio::time::advance(Duration::from_secs(10)).await;
    house.post("/raids", &token, new).await.ok(201);
}

#[tokio::test(start_paused = true)]
async fn one_address_makes_the_requests_of_ten_players_and_no_more() {
    let house = House::with(|http, _| http.rest_reads_per_minute = 5).await;
    let mut first = None;
    for number in 0..10 {
        let token = house.token(&format!("Player {number}")).await;
        for _ in 0..5 {
            house.get("/me", &token).await.ok(200);
        }
        house.get("/me", &token).await.failed("rate_limited");
        first.get_or_insert(token);
    }
    let eleventh = house.token("Eleventh").await;
    let refused = house.get("/me", &eleventh).await;
    assert_eq!(told(&refused.headers)[..2], [50, 0]);
    refused.failed("rate_limited");
    tokio::time::advance(Duration::from_secs(13)).await;
    house.get("/me", &eleventh).await.ok(200);
    house.get("/me", &first.expect("a first")).await.ok(200);
}

#[tokio::test(start_paused = true)]
async fn sign_ins_are_renewed_so_often_and_no_more() {
    let house = House::with(|http, _| http.guest_signins_per_minute = 1).await;
    let wrong = json!({"refresh_token": "no such token"});
    for _ in 0..10 {
        house
            .post("/auth/refresh", "", wrong.clone())
            .await
            .failed("unauthenticated");
    }
    house
        .post("/auth/refresh", "", wrong.clone())
        .await
        .failed("rate_limited");
    tokio::time::advance(Duration::from_secs(6)).await;
    house
        .post("/auth/refresh", "", wrong)
        .await
        .failed("unauthenticated");
}

#[tokio::test(start_paused = true)]
async fn the_backend_and_operators_are_not_counted() {
    let house = House::with(|http, _| http.rest_reads_per_minute = 1).await;
    let service = house.scoped(raidhall::auth::Scope::Service);
    let raid = house.raid(&house.token("Ada").await).await;
    for _ in 0..50 {
        house
            .get(&format!("/raids/{}", raid["id"]), &service)
            .await
            .ok(200);
    }
}
