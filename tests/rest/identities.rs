//! Tests of external identities: tokens of an issuer, Telegram's init data, and guests that are
//! linked to them.

use std::time::Duration;

use raidhall::auth::Scope;
use serde_json::{Value, json};

use crate::external_auth_server::ExternalAuthServer;
use crate::rest_server::{RestServer, json_text};

const SOON: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn a_token_of_an_issuer_acts_as_its_player() {
    let external = ExternalAuthServer::start().await;
    let server = &external.server;
    let token = external.host_app_token("u-7", "Ada");
    let me = server.get("/me", &token).await.expect_data(200);
    assert_eq!(me["name"], "Ada");
    let raid = server.create_raid(&token).await;
    let again = external.host_app_token("u-7", "Renamed");
    assert_eq!(
        server
            .get(&format!("/raids/{}", raid["id"]), &again)
            .await
            .expect_data(200)["leader"],
        me["id"]
    );
    server
        .get(
            &format!("/raids/{}", raid["id"]),
            &external.host_app_token("u-8", "Ben"),
        )
        .await
        .expect_error("not_found");
    server
        .get("/admin/audit", &token)
        .await
        .expect_error("forbidden");
    let found = server
        .get(
            "/admin/players?external_id=host:u-7",
            &server.scoped_token(Scope::Admin),
        )
        .await
        .expect_data(200);
    assert_eq!(found[0]["id"], me["id"]);
    server
        .post("/auth/sign-out", &token, Value::Null)
        .await
        .expect_error("forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_ban_applies_to_every_token_of_the_player() {
    let external = ExternalAuthServer::start().await;
    let server = &external.server;
    let token = external.host_app_token("u-7", "Ada");
    let me = server.get("/me", &token).await.expect_data(200);
    let pair = external
        .sign_in_with_telegram(&external.init_data(5, 0))
        .await
        .expect_data(200);
    let admin = server.scoped_token(Scope::Admin);
    for id in [&me["id"], &pair["player"]["id"]] {
        server
            .post(
                &format!("/admin/players/{id}/ban"),
                &admin,
                json!({"reason": "x"}),
            )
            .await
            .expect_data(200);
    }
    tokio::time::sleep(SOON).await;
    server.get("/me", &token).await.expect_error("forbidden");
    server
        .get("/me", &external.host_app_token("u-7", "Ada"))
        .await
        .expect_error("forbidden");
    external
        .sign_in_with_telegram(&external.init_data(5, 1))
        .await
        .expect_error("forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_telegram_user_signs_in_once_per_proof() {
    let external = ExternalAuthServer::start().await;
    let proof = external.init_data(279_058_397, 10);
    let pair = external
        .sign_in_with_telegram(&proof)
        .await
        .expect_data(200);
    assert_eq!(pair["player"]["name"], "Ada");
    external
        .sign_in_with_telegram(&proof)
        .await
        .expect_error("unauthenticated");
    let header = [("x-telegram-init-data", external.init_data(279_058_397, 9))];
    let header = header
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let again = external
        .server
        .request("POST /auth/telegram", "", &header, Value::Null)
        .await
        .expect_data(200);
    assert_eq!(again["player"], pair["player"]);
    let token = json_text(&again["access_token"]);
    assert_eq!(
        external.server.get("/me", &token).await.expect_data(200)["id"],
        pair["player"]["id"]
    );
    external
        .sign_in_with_telegram(&external.init_data(5, 301))
        .await
        .expect_error("unauthenticated");
    external
        .sign_in_with_telegram(&external.init_data(5, 0).replace("Ada", "Eve"))
        .await
        .expect_error("unauthenticated");
    for body in [
        json!({}),
        json!({"token": "x"}),
        json!({"token": "x", "init_data": "y"}),
        json!({"init_data": 7}),
    ] {
        assert_eq!(
            external
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
    let server = RestServer::start().await;
    server
        .post("/auth/telegram", "", json!({"init_data": "hash=00"}))
        .await
        .expect_error("forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_guest_linked_to_an_identity_keeps_everything() {
    let external = ExternalAuthServer::start().await;
    let server = &external.server;
    let guest = server.sign_in_guest("Guest").await;
    let token = json_text(&guest["access_token"]);
    let id = guest["player"]["id"].clone();
    let raid = server.create_raid(&token).await;
    let foreign = external.host_app_token("u-7", "Ada");
    let linked = server
        .post("/auth/link", &token, json!({"token": foreign}))
        .await
        .expect_data(200);
    assert_eq!(linked, json!({"player": id, "external_id": "host:u-7"}));
    server
        .post("/auth/link", &token, json!({"token": foreign}))
        .await
        .expect_data(200);
    let me = server.get("/me", &foreign).await.expect_data(200);
    assert_eq!((&me["id"], &me["name"]), (&id, &json!("Guest")));
    server
        .get(&format!("/raids/{}", raid["id"]), &foreign)
        .await
        .expect_data(200);
}

#[tokio::test(start_paused = true)]
async fn an_identity_is_linked_to_one_player_and_a_player_to_one() {
    let external = ExternalAuthServer::start().await;
    let server = &external.server;
    let owned = external.host_app_token("u-7", "Ada");
    server.get("/me", &owned).await.expect_data(200);
    let token = server.guest_token("Guest").await;
    let link = async |body: Value| server.post("/auth/link", &token, body).await;
    assert_eq!(
        link(json!({"token": owned})).await.invalid_fields(),
        ["token"],
        "the identity has a player already"
    );
    link(json!({"init_data": external.init_data(5, 0)}))
        .await
        .expect_data(200);
    assert_eq!(
        link(json!({"token": external.host_app_token("u-8", "Ben")}))
            .await
            .invalid_fields(),
        ["token"],
        "the player has an identity already"
    );
    for token in [&token, "rubbish"] {
        // Raidhall's own token proves no external identity.
        link(json!({"token": token}))
            .await
            .expect_error("unauthenticated");
    }
    link(json!({"init_data": external.init_data(5, 0)}))
        .await
        .expect_error("unauthenticated");
    let pair = external
        .sign_in_with_telegram(&external.init_data(5, 1))
        .await
        .expect_data(200);
    assert_eq!(pair["player"]["name"], "Guest");
    server
        .post("/auth/link", "", json!({"token": owned}))
        .await
        .expect_error("unauthenticated");
    server
        .post(
            "/auth/link",
            &server.scoped_token(Scope::Admin),
            json!({"token": owned}),
        )
        .await
        .expect_error("forbidden");
}

#[tokio::test(start_paused = true)]
async fn telegram_proofs_are_rate_limited_by_address() {
    let external = ExternalAuthServer::start().await;
    for _ in 0..60 {
        external
            .sign_in_with_telegram("hash=00")
            .await
            .expect_error("unauthenticated");
    }
    external
        .sign_in_with_telegram(&external.init_data(5, 0))
        .await
        .expect_error("rate_limited");
}
