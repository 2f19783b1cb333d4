//! Players whom others vouch for: by foreign tokens, by Telegram, and guests who become them.

use std::time::Duration;

use raidhall::auth::Scope;
use serde_json::{Value, json};

use crate::external_auth_server::ExternalAuthServer;
use crate::rest_server::{RestServer, json_text};

const SOON: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn a_token_of_an_issuer_acts_as_its_player() {
    let vouched = ExternalAuthServer::start().await;
    let (house, token) = (&vouched.server, vouched.host_app_token("u-7", "Ada"));
    let me = house.get("/me", &token).await.expect_data(200);
    assert_eq!(me["name"], "Ada");
    let raid = house.create_raid(&token).await;
    let again = vouched.host_app_token("u-7", "Renamed");
    assert_eq!(
        house
            .get(&format!("/raids/{}", raid["id"]), &again)
            .await
            .expect_data(200)["leader"],
        me["id"]
    );
    house
        .get(
            &format!("/raids/{}", raid["id"]),
            &vouched.host_app_token("u-8", "Ben"),
        )
        .await
        .expect_error("not_found");
    house
        .get("/admin/audit", &token)
        .await
        .expect_error("forbidden");
    let found = house
        .get(
            "/admin/players?external_id=host:u-7",
            &house.scoped_token(Scope::Admin),
        )
        .await
        .expect_data(200);
    assert_eq!(found[0]["id"], me["id"]);
    house
        .post("/auth/sign-out", &token, Value::Null)
        .await
        .expect_error("forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_ban_applies_to_every_token_of_the_player() {
    let vouched = ExternalAuthServer::start().await;
    let (house, token) = (&vouched.server, vouched.host_app_token("u-7", "Ada"));
    let me = house.get("/me", &token).await.expect_data(200);
    let pair = vouched
        .sign_in_with_telegram(&vouched.init_data(5, 0))
        .await
        .expect_data(200);
    let admin = house.scoped_token(Scope::Admin);
    for id in [&me["id"], &pair["player"]["id"]] {
        house
            .post(
                &format!("/admin/players/{id}/ban"),
                &admin,
                json!({"reason": "x"}),
            )
            .await
            .expect_data(200);
    }
    tokio::time::sleep(SOON).await;
    house.get("/me", &token).await.expect_error("forbidden");
    house
        .get("/me", &vouched.host_app_token("u-7", "Ada"))
        .await
        .expect_error("forbidden");
    vouched
        .sign_in_with_telegram(&vouched.init_data(5, 1))
        .await
        .expect_error("forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_telegram_user_signs_in_once_per_proof() {
    let vouched = ExternalAuthServer::start().await;
    let proof = vouched.init_data(279_058_397, 10);
    let pair = vouched.sign_in_with_telegram(&proof).await.expect_data(200);
    assert_eq!(pair["player"]["name"], "Ada");
    vouched
        .sign_in_with_telegram(&proof)
        .await
        .expect_error("unauthenticated");
    let header = [("x-telegram-init-data", vouched.init_data(279_058_397, 9))];
    let header = header
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let again = vouched
        .server
        .request("POST /auth/telegram", "", &header, Value::Null)
        .await
        .expect_data(200);
    assert_eq!(again["player"], pair["player"]);
    let token = json_text(&again["access_token"]);
    assert_eq!(
        vouched.server.get("/me", &token).await.expect_data(200)["id"],
        pair["player"]["id"]
    );
    vouched
        .sign_in_with_telegram(&vouched.init_data(5, 301))
        .await
        .expect_error("unauthenticated");
    vouched
        .sign_in_with_telegram(&vouched.init_data(5, 0).replace("Ada", "Eve"))
        .await
        .expect_error("unauthenticated");
    for body in [
        json!({}),
        json!({"token": "x"}),
        json!({"token": "x", "init_data": "y"}),
        json!({"init_data": 7}),
    ] {
        assert_eq!(
            vouched
                .server
                .post("/auth/telegram", "", body)
                .await
                .invalid_fields(),
            ["init_data"]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn telegram_sign_in_without_a_bot_token_is_forbidden() {
    let house = RestServer::start().await;
    house
        .post("/auth/telegram", "", json!({"init_data": "hash=00"}))
        .await
        .expect_error("forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_guest_linked_to_an_identity_keeps_everything() {
    let vouched = ExternalAuthServer::start().await;
    let house = &vouched.server;
    let guest = house.sign_in_guest("Guest").await;
    let (token, id) = (
        json_text(&guest["access_token"]),
        guest["player"]["id"].clone(),
    );
    let raid = house.create_raid(&token).await;
    let foreign = vouched.host_app_token("u-7", "Ada");
    let linked = house
        .post("/auth/link", &token, json!({"token": foreign}))
        .await
        .expect_data(200);
    assert_eq!(linked, json!({"player": id, "external_id": "host:u-7"}));
    house
        .post("/auth/link", &token, json!({"token": foreign}))
        .await
        .expect_data(200);
    let me = house.get("/me", &foreign).await.expect_data(200);
    assert_eq!((&me["id"], &me["name"]), (&id, &json!("Guest")));
    house
        .get(&format!("/raids/{}", raid["id"]), &foreign)
        .await
        .expect_data(200);
}

#[tokio::test(start_paused = true)]
async fn an_identity_is_linked_to_one_player_and_a_player_to_one() {
    let vouched = ExternalAuthServer::start().await;
    let house = &vouched.server;
    let owned = vouched.host_app_token("u-7", "Ada");
    house.get("/me", &owned).await.expect_data(200);
    let token = house.guest_token("Guest").await;
    let link = async |body: Value| house.post("/auth/link", &token, body).await;
    assert_eq!(
        link(json!({"token": owned})).await.invalid_fields(),
        ["token"],
        "it has a player"
    );
    link(json!({"init_data": vouched.init_data(5, 0)}))
        .await
        .expect_data(200);
    assert_eq!(
        link(json!({"token": vouched.host_app_token("u-8", "Ben")}))
            .await
            .invalid_fields(),
        ["token"],
        "it has one already"
    );
    for token in [&token, "rubbish"] {
        // Our own vouches for nobody.
        link(json!({"token": token}))
            .await
            .expect_error("unauthenticated");
    }
    link(json!({"init_data": vouched.init_data(5, 0)}))
        .await
        .expect_error("unauthenticated");
    let pair = vouched
        .sign_in_with_telegram(&vouched.init_data(5, 1))
        .await
        .expect_data(200);
    assert_eq!(pair["player"]["name"], "Guest");
    house
        .post("/auth/link", "", json!({"token": owned}))
        .await
        .expect_error("unauthenticated");
    house
        .post(
            "/auth/link",
            &house.scoped_token(Scope::Admin),
            json!({"token": owned}),
        )
        .await
        .expect_error("forbidden");
}

#[tokio::test(start_paused = true)]
async fn telegram_proofs_are_rate_limited_by_address() {
    let vouched = ExternalAuthServer::start().await;
    for _ in 0..60 {
        vouched
            .sign_in_with_telegram("hash=00")
            .await
            .expect_error("unauthenticated");
    }
    vouched
        .sign_in_with_telegram(&vouched.init_data(5, 0))
        .await
        .expect_error("rate_limited");
}
