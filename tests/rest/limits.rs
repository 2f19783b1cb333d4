//! How often is too often.

use crate::house::House;
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn guests_of_one_address_come_one_by_one_beyond_a_minutes_worth() {
    let house = House::open().await;
    for _ in 0..60 {
        house.guest("Ada").await;
    }
    let answer = house.post("/auth/guest", "", json!({"name": "Ada"})).await;
    let named = ["retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];
    assert_eq!(named.map(|name| answer.headers[name].to_str().expect("text")), ["1", "60", "0", "60"]);
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
        house.post("/raids/join", &bob, json!({"invite_code": "22222222"})).await.failed("not_found");
    }
    house.post("/raids/join", &bob, json!({"invite_code": "22222222"})).await.failed("rate_limited");
    house.post("/raids/join", &bob, right.clone()).await.failed("rate_limited");
    house.post("/raids/join", &ada, right.clone()).await.ok(200);
    for guest in 0..4 {
        let token = house.token(&format!("Guest {guest}")).await;
        for _ in 0..20 {
            house.post("/raids/join", &token, json!({"invite_code": "22222222"})).await.failed("not_found");
        }
    }
    let fresh = house.token("One more").await;
    house.post("/raids/join", &fresh, right.clone()).await.failed("rate_limited");
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
        house.command(&raid["id"], &token, say.clone()).await.ok(200);
    }
    let error = house.command(&raid["id"], &token, say.clone()).await.failed("rate_limited");
    assert_eq!(error["retry_after_ms"], 100);
    tokio::time::advance(Duration::from_millis(100)).await;
    house.command(&raid["id"], &token, say).await.ok(200);
}
