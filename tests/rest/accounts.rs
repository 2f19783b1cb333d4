//! Signing in, staying signed in, being turned away.

use std::time::Duration;

use raidhall::store::memory::Call;
use serde_json::{Value, json};

use crate::house::{House, text};

#[tokio::test(start_paused = true)]
async fn a_guest_signs_in_by_a_name_and_is_known_from_then_on() {
    let house = House::open().await;
    let pair = house.guest("  Ada ").await;
    assert_eq!(
        (&pair["player"]["name"], &pair["expires_in"]),
        (&json!("Ada"), &json!(900))
    );
    let me = house.get("/me", &text(&pair["access_token"])).await.ok(200);
    assert_eq!(
        (&me["id"], &me["name"], &me["xp"]),
        (&pair["player"]["id"], &json!("Ada"), &json!(0))
    );
    assert_ne!(
        house.guest("Ada").await["player"]["id"],
        pair["player"]["id"],
        "a name is nobody's own"
    );
}

#[tokio::test(start_paused = true)]
async fn a_bad_name_is_named_and_makes_nobody() {
    let house = House::open().await;
    for body in [
        json!({}),
        json!({"name": 7}),
        json!({"name": " "}),
        json!({"name": "x".repeat(41)}),
    ] {
        assert_eq!(house.post("/auth/guest", "", body).await.faulty(), ["name"]);
    }
    assert_eq!(house.store.faults().call_count(Call::CreatePlayer), 0);
}

#[tokio::test(start_paused = true)]
async fn guests_can_be_turned_away() {
    let house = House::with(|_, auth| auth.can_guests_sign_in = false).await;
    house
        .post("/auth/guest", "", json!({"name": "Ada"}))
        .await
        .failed("forbidden");
}

#[tokio::test(start_paused = true)]
async fn without_a_valid_token_nothing_opens() {
    let house = House::open().await;
    let token = house.token("Ada").await;
    for path in [
        "/me",
        "/raids",
        "/raids/1",
        "/raids/1/events",
        "/raids/1/contributions",
    ] {
        let answer = house.get(path, "").await;
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        answer.failed("unauthenticated");
        house.get(path, "rubbish").await.failed("unauthenticated");
    }
    for path in ["/raids", "/raids/join", "/raids/1/commands"] {
        house
            .post(path, "", json!({}))
            .await
            .failed("unauthenticated");
    }
    let basic = [("authorization", "Basic QWRhOng=")];
    house
        .ask("GET /me", "", &basic, json!(null))
        .await
        .failed("unauthenticated");
    tokio::time::advance(Duration::from_secs(899)).await;
    house.get("/me", &token).await.ok(200);
    tokio::time::advance(Duration::from_secs(1)).await;
    house.get("/me", &token).await.failed("unauthenticated");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_gives_the_next_pair_and_its_repeat_the_same() {
    let house = House::open().await;
    let first = house.guest("Ada").await;
    let refresh = |token: &Value| house.post("/auth/refresh", "", json!({"refresh_token": token}));
    let second = refresh(&first["refresh_token"]).await.ok(200);
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    assert_eq!(second["player"], first["player"]);
    house
        .get("/me", &text(&second["access_token"]))
        .await
        .ok(200);
    tokio::time::advance(Duration::from_secs(59)).await;
    let repeated = refresh(&first["refresh_token"]).await.ok(200);
    assert_eq!(
        repeated["refresh_token"], second["refresh_token"],
        "the answer may have been lost"
    );
    let third = refresh(&second["refresh_token"]).await.ok(200);
    assert_ne!(third["refresh_token"], second["refresh_token"]);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_used_again_later_ends_the_sign_in() {
    let house = House::open().await;
    let first = house.guest("Ada").await;
    let refresh = |token: &Value| house.post("/auth/refresh", "", json!({"refresh_token": token}));
    let second = refresh(&first["refresh_token"]).await.ok(200);
    tokio::time::advance(Duration::from_secs(61)).await;
    refresh(&first["refresh_token"])
        .await
        .failed("unauthenticated");
    refresh(&second["refresh_token"])
        .await
        .failed("unauthenticated");
    refresh(&json!("rubbish")).await.failed("unauthenticated");
    assert_eq!(refresh(&json!(null)).await.faulty(), ["refresh_token"]);
    let other = house.guest("Bob").await;
    refresh(&other["refresh_token"]).await.ok(200);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_a_reason_to_try_again() {
    let house = House::open().await;
    let token = house.token("Ada").await;
    house.store.faults().fail_calls(Call::Player, 1);
    let error = house.get("/me", &token).await.failed("unavailable");
    assert_eq!(
        (&error["retry"], &error["retry_after_ms"]),
        (&json!(true), &json!(500))
    );
    house.get("/me", &token).await.ok(200);
}
