//! Players whom others vouch for: by foreign tokens, by Telegram, and guests who become them.

use std::time::Duration;

use raidhall::auth::Scope;
use serde_json::{Value, json};

use crate::house::{House, text};
use crate::vouched::Vouched;

const SOON: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn a_host_apps_own_token_opens_every_door_a_player_has() {
    let vouched = Vouched::open().await;
    let (house, token) = (&vouched.house, vouched.token("u-7", "Ada"));
    let me = house.get("/me", &token).await.ok(200);
    assert_eq!(me["name"], "Ada");
    let raid = house.raid(&token).await;
    let again = vouched.token("u-7", "Renamed");
    assert_eq!(
        house
            .get(&format!("/raids/{}", raid["id"]), &again)
            .await
            .ok(200)["leader"],
        me["id"]
    );
    house
        .get(
            &format!("/raids/{}", raid["id"]),
            &vouched.token("u-8", "Ben"),
        )
        .await
        .failed("not_found");
    house.get("/admin/audit", &token).await.failed("forbidden");
    let found = house
        .get(
            "/admin/players?external_id=host:u-7",
            &house.scoped(Scope::Admin),
        )
        .await
        .ok(200);
    assert_eq!(found[0]["id"], me["id"]);
    house
        .post("/auth/sign-out", &token, Value::Null)
        .await
        .failed("forbidden");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_banned_is_so_with_every_token() {
    let vouched = Vouched::open().await;
    let (house, token) = (&vouched.house, vouched.token("u-7", "Ada"));
    let me = house.get("/me", &token).await.ok(200);
    let pair = vouched.telegram(&vouched.init_data(5, 0)).await.ok(200);
    let admin = house.scoped(Scope::Admin);
    for id in [&me["id"], &pair["player"]["id"]] {
        house
            .post(
                &format!("/admin/players/{id}/ban"),
                &admin,
                json!({"reason": "x"}),
            )
            .await
            .ok(200);
    }
    tokio::time::sleep(SOON).await;
    house.get("/me", &token).await.failed("forbidden");
    house
        .get("/me", &vouched.token("u-7", "Ada"))
        .await
        .failed("forbidden");
    vouched
        .telegram(&vouched.init_data(5, 1))
        .await
        .failed("forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_user_of_telegram_signs_in_once_with_each_proof() {
    let vouched = Vouched::open().await;
    let proof = vouched.init_data(279_058_397, 10);
    let pair = vouched.telegram(&proof).await.ok(200);
    assert_eq!(pair["player"]["name"], "Ada");
    vouched.telegram(&proof).await.failed("unauthenticated");
    let header = [("x-telegram-init-data", vouched.init_data(279_058_397, 9))];
    let header = header
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let again = vouched
        .house
        .ask("POST /auth/telegram", "", &header, Value::Null)
        .await
        .ok(200);
    assert_eq!(again["player"], pair["player"]);
    let token = text(&again["access_token"]);
    assert_eq!(
        vouched.house.get("/me", &token).await.ok(200)["id"],
        pair["player"]["id"]
    );
    vouched
        .telegram(&vouched.init_data(5, 301))
        .await
        .failed("unauthenticated");
    vouched
        .telegram(&vouched.init_data(5, 0).replace("Ada", "Eve"))
        .await
        .failed("unauthenticated");
    for body in [
        json!({}),
        json!({"token": "x"}),
        json!({"token": "x", "init_data": "y"}),
        json!({"init_data": 7}),
    ] {
        assert_eq!(
            vouched
                .house
                .post("/auth/telegram", "", body)
                .await
                .faulty(),
            ["init_data"]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_bot_users_of_telegram_cannot_sign_in() {
    let house = House::open().await;
    house
        .post("/auth/telegram", "", json!({"init_data": "hash=00"}))
        .await
        .failed("forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_guest_becomes_whom_an_identity_vouches_for_and_keeps_everything() {
    let vouched = Vouched::open().await;
    let house = &vouched.house;
    let guest = house.guest("Guest").await;
    let (token, id) = (text(&guest["access_token"]), guest["player"]["id"].clone());
    let raid = house.raid(&token).await;
    let foreign = vouched.token("u-7", "Ada");
    let linked = house
        .post("/auth/link", &token, json!({"token": foreign}))
        .await
        .ok(200);
    assert_eq!(linked, json!({"player": id, "external_id": "host:u-7"}));
    house
        .post("/auth/link", &token, json!({"token": foreign}))
        .await
        .ok(200);
    let me = house.get("/me", &foreign).await.ok(200);
    assert_eq!((&me["id"], &me["name"]), (&id, &json!("Guest")));
    house
        .get(&format!("/raids/{}", raid["id"]), &foreign)
        .await
        .ok(200);
}

#[tokio::test(start_paused = true)]
async fn an_identity_is_linked_to_one_player_and_a_player_to_one() {
    let vouched = Vouched::open().await;
    let house = &vouched.house;
    let owned = vouched.token("u-7", "Ada");
    house.get("/me", &owned).await.ok(200);
    let token = house.token("Guest").await;
    let link = async |body: Value| house.post("/auth/link", &token, body).await;
    assert_eq!(
        link(json!({"token": owned})).await.faulty(),
        ["token"],
        "it has a player"
    );
    link(json!({"init_data": vouched.init_data(5, 0)}))
        .await
        .ok(200);
    assert_eq!(
        link(json!({"token": vouched.token("u-8", "Ben")}))
            .await
            .faulty(),
        ["token"],
        "it has one already"
    );
    for token in [&token, "rubbish"] {
        // Our own vouches for nobody.
        link(json!({"token": token}))
            .await
            .failed("unauthenticated");
    }
    link(json!({"init_data": vouched.init_data(5, 0)}))
        .await
        .failed("unauthenticated");
    let pair = vouched.telegram(&vouched.init_data(5, 1)).await.ok(200);
    assert_eq!(pair["player"]["name"], "Guest");
    house
        .post("/auth/link", "", json!({"token": owned}))
        .await
        .failed("unauthenticated");
    house
        .post(
            "/auth/link",
            &house.scoped(Scope::Admin),
            json!({"token": owned}),
        )
        .await
        .failed("forbidden");
}

#[tokio::test(start_paused = true)]
async fn proofs_are_limited_by_address() {
    let vouched = Vouched::open().await;
    for _ in 0..60 {
        vouched.telegram("hash=00").await.failed("unauthenticated");
    }
    vouched
        .telegram(&vouched.init_data(5, 0))
        .await
        .failed("rate_limited");
}
