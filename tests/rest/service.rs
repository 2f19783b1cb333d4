//! Tests of the scopes `service` and `admin`: what tokens of the host app's backend and of
//! operators may do.

use raidhall::auth::Scope;
use serde_json::json;

use crate::rest_server::{RestServer, json_text};
use crate::wait::wait_for;

#[tokio::test(start_paused = true)]
async fn only_the_backend_can_credit_players() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let token = json_text(&ada["access_token"]);
    let service = server.scoped_token(Scope::Service);
    let raid = server.create_raid(&token).await;
    let id = &raid["id"];
    server
        .send_command(id, &token, json!({"type": "start"}))
        .await
        .expect_data(200);
    let credit =
        json!({"type": "contribute", "player": ada["player"]["id"], "xp": 60, "kind": "habit"});
    server
        .send_command(id, &token, credit.clone())
        .await
        .expect_error("forbidden");
    server
        .send_command(id, &service, json!({"type": "cancel"}))
        .await
        .expect_error("forbidden");
    server
        .send_command(id, &service, credit.clone())
        .await
        .expect_data(200);
    server
        .send_command(id, &service, credit)
        .await
        .expect_data(200);
    let seen = server
        .get(&format!("/raids/{id}"), &service)
        .await
        .expect_data(200);
    assert_eq!(
        (&seen["status"], &seen["current_xp"]),
        (&json!("completed"), &json!(120))
    );
    let rows = server
        .get(&format!("/raids/{id}/contributions"), &service)
        .await
        .expect_data(200);
    let row = &rows[1];
    assert_eq!(
        (&row["xp"], &row["kind"], &row["task"], &row["note"]),
        (&json!(60), &json!("habit"), &json!(null), &json!(null))
    );
    let after = server
        .get(
            &format!("/raids/{id}/contributions?after={}", rows[0]["seq"]),
            &token,
        )
        .await
        .expect_data(200);
    assert_eq!(after, json!([row]));
    let totals = async || {
        let me = server.get("/me", &token).await.expect_data(200);
        (me["xp"] == 120 && me["tasks"] == 2 && me["raids_won"] == 1).then_some(())
    };
    wait_for("the totals", totals).await;
}

#[tokio::test(start_paused = true)]
async fn one_op_used_by_a_player_and_the_backend_counts_as_two() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let token = json_text(&ada["access_token"]);
    let minute = std::time::Duration::from_secs(60);
    let subject = ada["player"]["id"].to_string();
    let service =
        server
            .auth
            .mint_scoped(Scope::Service, &subject, None, minute, server.clock.now());
    let raid = server.create_raid(&token).await;
    let route = format!("/raids/{}/commands", raid["id"]);
    server
        .post(&route, &token, json!({"op": "1", "cmd": {"type": "start"}}))
        .await
        .expect_data(200);
    let credit =
        json!({"type": "contribute", "player": ada["player"]["id"], "xp": 60, "kind": "habit"});
    let credited = server
        .post(&route, &service, json!({"op": "1", "cmd": credit}))
        .await
        .expect_data(200);
    assert_eq!(credited["duplicate"], false);
}

#[tokio::test(start_paused = true)]
async fn an_operator_can_read_but_not_change_a_raid() {
    let server = RestServer::start().await;
    let token = server.guest_token("Ada").await;
    let admin = server.scoped_token(Scope::Admin);
    let raid = server.create_raid(&token).await;
    let path = format!("/raids/{}", raid["id"]);
    assert_eq!(server.get(&path, &admin).await.expect_data(200), raid);
    server
        .get(&format!("{path}/events"), &admin)
        .await
        .expect_data(200);
    server
        .get("/raids/4711", &admin)
        .await
        .expect_error("not_found");
    server
        .get("/raids/4711/events", &admin)
        .await
        .expect_error("not_found");
    server
        .send_command(&raid["id"], &admin, json!({"type": "cancel"}))
        .await
        .expect_error("forbidden");
    for path in ["/me", "/raids"] {
        server.get(path, &admin).await.expect_error("forbidden");
    }
    server
        .post(
            "/raids/join",
            &admin,
            json!({"invite_code": raid["invite_code"]}),
        )
        .await
        .expect_error("forbidden");
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_is_also_a_player_cannot_change_a_raid_either() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let token = json_text(&ada["access_token"]);
    let raid = server.create_raid(&token).await;
    let id = ada["player"]["id"].to_string();
    let minute = std::time::Duration::from_secs(60);
    let admin = server
        .auth
        .mint_scoped(Scope::Admin, &id, Some("Ada"), minute, server.clock.now());
    let new = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2});
    server
        .post("/raids", &admin, new)
        .await
        .expect_error("forbidden");
    server
        .post(
            "/raids/join",
            &admin,
            json!({"invite_code": raid["invite_code"]}),
        )
        .await
        .expect_error("forbidden");
    server
        .send_command(&raid["id"], &admin, json!({"type": "start"}))
        .await
        .expect_error("forbidden");
    assert_eq!(
        server
            .get(&format!("/raids/{}", raid["id"]), &admin)
            .await
            .expect_data(200),
        raid
    );
    assert_eq!(
        server.get("/me", &admin).await.expect_data(200)["id"],
        ada["player"]["id"]
    );
}
