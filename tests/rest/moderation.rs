//! Signing out, being banned, being let in again.

use std::time::Duration;

use raidhall::auth::Scope;
use raidhall::store::faulty::Call;
use serde_json::{Value, json};

use crate::rest_server::{RestServer, json_text};

/// How long it takes at most until every door knows.
const PROPAGATION_MAX: Duration = Duration::from_secs(2);

async fn ban_player(house: &RestServer, pair: &Value) -> String {
    let door = format!("/admin/players/{}/ban", pair["player"]["id"]);
    house
        .post(
            &door,
            &house.scoped_token(Scope::Admin),
            json!({"reason": "spam"}),
        )
        .await
        .expect_data(200);
    tokio::time::sleep(PROPAGATION_MAX).await;
    door
}

#[tokio::test(start_paused = true)]
async fn a_sign_out_ends_its_own_sign_in_and_no_other() {
    let house = RestServer::start().await;
    let (phone, laptop) = (
        house.sign_in_guest("Ada").await,
        house.sign_in_guest("Ada").await,
    );
    let token = json_text(&phone["access_token"]);
    let answer = house
        .post("/auth/sign-out", &token, Value::Null)
        .await
        .expect_data(200);
    assert_eq!(answer, json!({"signed_out": true}));
    tokio::time::sleep(PROPAGATION_MAX).await;
    house
        .get("/me", &token)
        .await
        .expect_error("unauthenticated");
    house
        .post("/auth/sign-out", &token, Value::Null)
        .await
        .expect_error("unauthenticated");
    let refresh = json!({"refresh_token": phone["refresh_token"]});
    house
        .post("/auth/refresh", "", refresh)
        .await
        .expect_error("unauthenticated");
    house
        .get("/me", &json_text(&laptop["access_token"]))
        .await
        .expect_data(200);
    house
        .post("/auth/sign-out", "", Value::Null)
        .await
        .expect_error("unauthenticated");
    house
        .post(
            "/auth/sign-out",
            &house.scoped_token(Scope::Service),
            Value::Null,
        )
        .await
        .expect_error("forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_reused_refresh_token_revokes_the_access_tokens() {
    let house = RestServer::start().await;
    let first = house.sign_in_guest("Ada").await;
    let refresh = |token: &Value| house.post("/auth/refresh", "", json!({"refresh_token": token}));
    let second = refresh(&first["refresh_token"]).await.expect_data(200);
    tokio::time::sleep(Duration::from_secs(61)).await;
    house
        .get("/me", &json_text(&second["access_token"]))
        .await
        .expect_data(200);
    refresh(&first["refresh_token"])
        .await
        .expect_error("unauthenticated");
    tokio::time::sleep(PROPAGATION_MAX).await;
    house
        .get("/me", &json_text(&second["access_token"]))
        .await
        .expect_error("unauthenticated");
}

#[tokio::test(start_paused = true)]
async fn a_banned_player_is_refused_everywhere_until_the_ban_is_lifted() {
    let house = RestServer::start().await;
    let (pair, other) = (
        house.sign_in_guest("Ada").await,
        house.guest_token("Ben").await,
    );
    let (token, admin) = (
        json_text(&pair["access_token"]),
        house.scoped_token(Scope::Admin),
    );
    let raid = house.create_raid(&token).await;
    let door = ban_player(&house, &pair).await;
    for path in [
        "/me".to_owned(),
        "/raids".to_owned(),
        format!("/raids/{}", raid["id"]),
    ] {
        house.get(&path, &token).await.expect_error("forbidden");
    }
    house
        .send_command(&raid["id"], &token, json!({"type": "start"}))
        .await
        .expect_error("forbidden");
    let refresh = json!({"refresh_token": pair["refresh_token"]});
    house
        .post("/auth/refresh", "", refresh.clone())
        .await
        .expect_error("forbidden");
    house.get("/me", &other).await.expect_data(200);
    let bans = house.get("/admin/bans", &admin).await.expect_data(200);
    assert_eq!(
        (&bans[0]["player"], &bans[0]["reason"], &bans[0]["by"]),
        (&pair["player"], &json!("spam"), &json!("admin:backend"))
    );

    house
        .request(&format!("DELETE {door}"), &admin, &[], Value::Null)
        .await
        .expect_data(200);
    tokio::time::sleep(PROPAGATION_MAX).await;
    house.get("/me", &token).await.expect_data(200);
    house
        .post("/auth/refresh", "", refresh)
        .await
        .expect_data(200);
    house
        .request(&format!("DELETE {door}"), &admin, &[], Value::Null)
        .await
        .expect_error("not_found");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_checked_without_a_store_query() {
    let house = RestServer::start().await;
    let token = house.guest_token("Ada").await;
    let before = [Call::Notices, Call::Bans].map(|call| house.store.faults().call_count(call));
    for _ in 0..100 {
        house
            .get("/raids/1", &token)
            .await
            .expect_error("not_found");
    }
    assert_eq!(
        [Call::Notices, Call::Bans].map(|call| house.store.faults().call_count(call)),
        before
    );
}

#[tokio::test(start_paused = true)]
async fn known_bans_hold_during_a_store_outage() {
    let house = RestServer::start().await;
    let (ada, ben) = (
        house.sign_in_guest("Ada").await,
        house.guest_token("Ben").await,
    );
    ban_player(&house, &ada).await;
    house.store.faults().fail_calls(Call::Notices, 5);
    tokio::time::sleep(Duration::from_secs(3)).await;
    house
        .get("/me", &json_text(&ada["access_token"]))
        .await
        .expect_error("forbidden");
    house.get("/me", &ben).await.expect_data(200);
    let ben = house.get("/me", &ben).await.expect_data(200)["id"].clone();
    let admin = house.scoped_token(Scope::Admin);
    house
        .post(
            &format!("/admin/players/{ben}/ban"),
            &admin,
            json!({"reason": "x"}),
        )
        .await
        .expect_data(200);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(house.auth.is_banned(
        raidhall_protocol::PlayerId::try_from(ben.as_u64().expect("an id")).expect("an id")
    ));
}
