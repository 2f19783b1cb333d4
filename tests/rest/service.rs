//! The host app's backend and operators: what their scopes open, and what they don't.

use raidhall::auth::Scope;
use serde_json::json;

use crate::house::{House, text};

#[tokio::test(start_paused = true)]
async fn the_backend_credits_players_and_players_cannot() {
    let house = House::open().await;
    let ada = house.guest("Ada").await;
    let (token, service) = (text(&ada["access_token"]), house.scoped(Scope::Service));
    let raid = house.raid(&token).await;
    let id = &raid["id"];
    house
        .command(id, &token, json!({"type": "start"}))
        .await
        .ok(200);
    let credit =
        json!({"type": "contribute", "player": ada["player"]["id"], "xp": 60, "kind": "habit"});
    house
        .command(id, &token, credit.clone())
        .await
        .failed("forbidden");
    house
        .command(id, &service, json!({"type": "cancel"}))
        .await
        .failed("forbidden");
    house.command(id, &service, credit.clone()).await.ok(200);
    house.command(id, &service, credit).await.ok(200);
    let seen = house.get(&format!("/raids/{id}"), &service).await.ok(200);
    assert_eq!(
        (&seen["status"], &seen["current_xp"]),
        (&json!("completed"), &json!(120))
    );
    let rows = house
        .get(&format!("/raids/{id}/contributions"), &service)
        .await
        .ok(200);
    let row = &rows[1];
    assert_eq!(
        (&row["xp"], &row["kind"], &row["task"], &row["note"]),
        (&json!(60), &json!("habit"), &json!(null), &json!(null))
    );
    let after = house
        .get(
            &format!("/raids/{id}/contributions?after={}", rows[0]["seq"]),
            &token,
        )
        .await
        .ok(200);
    assert_eq!(after, json!([row]));
    let me = house.get("/me", &token).await.ok(200);
    assert_eq!(
        (&me["xp"], &me["tasks"], &me["raids_won"]),
        (&json!(120), &json!(2), &json!(1))
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_op_of_a_player_and_of_the_backend_are_two() {
    let house = House::open().await;
    let ada = house.guest("Ada").await;
    let token = text(&ada["access_token"]);
    let minute = std::time::Duration::from_secs(60);
    let subject = ada["player"]["id"].to_string();
    let service = house
        .auth
        .mint_scoped(Scope::Service, &subject, None, minute, house.clock.now());
    let raid = house.raid(&token).await;
    let door = format!("/raids/{}/commands", raid["id"]);
    house
        .post(&door, &token, json!({"op": "1", "cmd": {"type": "start"}}))
        .await
        .ok(200);
    let credit =
        json!({"type": "contribute", "player": ada["player"]["id"], "xp": 60, "kind": "habit"});
    let credited = house
        .post(&door, &service, json!({"op": "1", "cmd": credit}))
        .await
        .ok(200);
    assert_eq!(credited["duplicate"], false);
}

#[tokio::test(start_paused = true)]
async fn an_operator_looks_and_does_not_touch() {
    let house = House::open().await;
    let (token, admin) = (house.token("Ada").await, house.scoped(Scope::Admin));
    let raid = house.raid(&token).await;
    let path = format!("/raids/{}", raid["id"]);
    assert_eq!(house.get(&path, &admin).await.ok(200), raid);
    house.get(&format!("{path}/events"), &admin).await.ok(200);
    house.get("/raids/4711", &admin).await.failed("not_found");
    house
        .get("/raids/4711/events", &admin)
        .await
        .failed("not_found");
    house
        .command(&raid["id"], &admin, json!({"type": "cancel"}))
        .await
        .failed("forbidden");
    for path in ["/me", "/raids"] {
        house.get(path, &admin).await.failed("forbidden");
    }
    house
        .post(
            "/raids/join",
            &admin,
            json!({"invite_code": raid["invite_code"]}),
        )
        .await
        .failed("forbidden");
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_is_a_player_too_does_not_touch_either() {
    let house = House::open().await;
    let ada = house.guest("Ada").await;
    let token = text(&ada["access_token"]);
    let (raid, id) = (house.raid(&token).await, ada["player"]["id"].to_string());
    let minute = std::time::Duration::from_secs(60);
    let admin = house
        .auth
        .mint_scoped(Scope::Admin, &id, Some("Ada"), minute, house.clock.now());
    let new = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2});
    house.post("/raids", &admin, new).await.failed("forbidden");
    house
        .post(
            "/raids/join",
            &admin,
            json!({"invite_code": raid["invite_code"]}),
        )
        .await
        .failed("forbidden");
    house
        .command(&raid["id"], &admin, json!({"type": "start"}))
        .await
        .failed("forbidden");
    assert_eq!(
        house
            .get(&format!("/raids/{}", raid["id"]), &admin)
            .await
            .ok(200),
        raid
    );
    assert_eq!(
        house.get("/me", &admin).await.ok(200)["id"],
        ada["player"]["id"]
    );
}
