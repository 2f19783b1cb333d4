//! Signing out, being banned, being let in again.

use std::time::Duration;

use raidhall::auth::Scope;
use raidhall::store::memory::Call;
use serde_json::{Value, json};

use crate::house::{House, text};

/// How long it takes at most until every door knows.
const SOON: Duration = Duration::from_secs(2);

async fn banned(house: &House, pair: &Value) -> String {
    let door = format!("/admin/players/{}/ban", pair["player"]["id"]);
    house
        .post(
            &door,
            &house.scoped(Scope::Admin),
            json!({"reason": "spam"}),
        )
        .await
        .ok(200);
    tokio::time::sleep(SOON).await;
    door
}

#[tokio::test(start_paused = true)]
async fn a_sign_out_ends_its_own_sign_in_and_no_other() {
    let house = House::open().await;
    let (phone, laptop) = (house.guest("Ada").await, house.guest("Ada").await);
    let token = text(&phone["access_token"]);
    let answer = house
        .post("/auth/sign-out", &token, Value::Null)
        .await
        .ok(200);
    assert_eq!(answer, json!({"signed_out": true}));
    tokio::time::sleep(SOON).await;
    house.get("/me", &token).await.failed("unauthenticated");
    house
        .post("/auth/sign-out", &token, Value::Null)
        .await
        .failed("unauthenticated");
    let refresh = json!({"refresh_token": phone["refresh_token"]});
    house
        .post("/auth/refresh", "", refresh)
        .await
        .failed("unauthenticated");
    house
        .get("/me", &text(&laptop["access_token"]))
        .await
        .ok(200);
    house
        .post("/auth/sign-out", "", Value::Null)
        .await
        .failed("unauthenticated");
    house
        .post("/auth/sign-out", &house.scoped(Scope::Service), Value::Null)
        .await
        .failed("forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_is_used_again_takes_the_access_tokens_with_it() {
    let house = House::open().await;
    let first = house.guest("Ada").await;
    let refresh = |token: &Value| house.post("/auth/refresh", "", json!({"refresh_token": token}));
    let second = refresh(&first["refresh_token"]).await.ok(200);
    tokio::time::sleep(Duration::from_secs(61)).await;
    house
        .get("/me", &text(&second["access_token"]))
        .await
        .ok(200);
    refresh(&first["refresh_token"])
        .await
        .failed("unauthenticated");
    tokio::time::sleep(SOON).await;
    house
        .get("/me", &text(&second["access_token"]))
        .await
        .failed("unauthenticated");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_banned_comes_in_by_no_door_until_the_ban_is_lifted() {
    let house = House::open().await;
    let (pair, other) = (house.guest("Ada").await, house.token("Ben").await);
    let (token, admin) = (text(&pair["access_token"]), house.scoped(Scope::Admin));
    let raid = house.raid(&token).await;
    let door = banned(&house, &pair).await;
    for path in [
        "/me".to_owned(),
        "/raids".to_owned(),
        format!("/raids/{}", raid["id"]),
    ] {
        house.get(&path, &token).await.failed("forbidden");
    }
    house
        .command(&raid["id"], &token, json!({"type": "start"}))
        .await
        .failed("forbidden");
    let refresh = json!({"refresh_token": pair["refresh_token"]});
    house
        .post("/auth/refresh", "", refresh.clone())
        .await
        .failed("forbidden");
    house.get("/me", &other).await.ok(200);
    let bans = house.get("/admin/bans", &admin).await.ok(200);
    assert_eq!(
        (&bans[0]["player"], &bans[0]["reason"], &bans[0]["by"]),
        (&pair["player"], &json!("spam"), &json!("admin:backend"))
    );

    house
        .ask(&format!("DELETE {door}"), &admin, &[], Value::Null)
        .await
        .ok(200);
    tokio::time::sleep(SOON).await;
    house.get("/me", &token).await.ok(200);
    house.post("/auth/refresh", "", refresh).await.ok(200);
    house
        .ask(&format!("DELETE {door}"), &admin, &[], Value::Null)
        .await
        .failed("not_found");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_checked_without_a_look_at_the_store() {
    let house = House::open().await;
    let token = house.token("Ada").await;
    let before = [Call::Notices, Call::Bans].map(|call| house.store.faults().call_count(call));
    for _ in 0..100 {
        house.get("/raids/1", &token).await.failed("not_found");
    }
    assert_eq!(
        [Call::Notices, Call::Bans].map(|call| house.store.faults().call_count(call)),
        before
    );
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_what_was_known_holds() {
    let house = House::open().await;
    let (ada, ben) = (house.guest("Ada").await, house.token("Ben").await);
    banned(&house, &ada).await;
    house.store.faults().fail_calls(Call::Notices, 5);
    tokio::time::sleep(Duration::from_secs(3)).await;
    house
        .get("/me", &text(&ada["access_token"]))
        .await
        .failed("forbidden");
    house.get("/me", &ben).await.ok(200);
    let ben = house.get("/me", &ben).await.ok(200)["id"].clone();
    let admin = house.scoped(Scope::Admin);
    house
        .post(
            &format!("/admin/players/{ben}/ban"),
            &admin,
            json!({"reason": "x"}),
        )
        .await
        .ok(200);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(house.auth.is_banned(
        raidhall_protocol::PlayerId::try_from(ben.as_u64().expect("an id")).expect("an id")
    ));
}
