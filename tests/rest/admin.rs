//! What operators look up and do, and that all of it is on record.

use raidhall::auth::Scope;
use raidhall::store::faulty::Call;
use serde_json::{Value, json};

use crate::rest_server::{RestServer, json_text};

/// Every operators' door, with a body where it takes one.
fn operator_requests() -> Vec<(&'static str, Value)> {
    vec![
        ("GET /admin/players?name=a", Value::Null),
        ("POST /admin/players/1/ban", json!({"reason": "x"})),
        ("DELETE /admin/players/1/ban", Value::Null),
        ("POST /admin/players/1/disconnect", Value::Null),
        ("GET /admin/bans", Value::Null),
        ("GET /admin/raids?id=1", Value::Null),
        ("POST /admin/raids/1/end", Value::Null),
        ("GET /admin/instances", Value::Null),
        ("GET /admin/audit", Value::Null),
    ]
}

#[tokio::test(start_paused = true)]
async fn admin_routes_refuse_other_scopes_without_an_audit_entry() {
    let house = RestServer::start().await;
    let (player, service) = (
        house.guest_token("Ada").await,
        house.scoped_token(Scope::Service),
    );
    for (door, body) in operator_requests() {
        house
            .request(door, "", &[], body.clone())
            .await
            .expect_error("unauthenticated");
        house
            .request(door, &player, &[], body.clone())
            .await
            .expect_error("forbidden");
        house
            .request(door, &service, &[], body)
            .await
            .expect_error("forbidden");
    }
    assert_eq!(
        house
            .get("/admin/audit", &house.scoped_token(Scope::Admin))
            .await
            .expect_data(200),
        json!([])
    );
}

#[tokio::test(start_paused = true)]
async fn a_raid_ended_by_an_operator_has_no_player_as_its_actor() {
    let house = RestServer::start().await;
    let (token, admin) = (
        house.guest_token("Ada").await,
        house.scoped_token(Scope::Admin),
    );
    let id = house.create_raid(&token).await["id"].clone();
    let door = format!("POST /admin/raids/{id}/end");
    let key = [("idempotency-key", "end-1"), ("x-request-id", "req-1")];
    let ended = house
        .request(&door, &admin, &key, Value::Null)
        .await
        .expect_data(200);
    let again = house
        .request(&door, &admin, &key, Value::Null)
        .await
        .expect_data(200);
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&ended["seq"], &json!(true))
    );
    let raid = house
        .get(&format!("/raids/{id}"), &token)
        .await
        .expect_data(200);
    assert_eq!(
        (&raid["status"], &raid["reason"]),
        (&json!("failed"), &json!("cancelled"))
    );
    let events = house
        .get(&format!("/raids/{id}/events?after=2"), &token)
        .await
        .expect_data(200);
    assert_eq!(
        (&events[0]["type"], &events[0]["by"]),
        (&json!("raid_failed"), &Value::Null)
    );
    house
        .post(&format!("/admin/raids/{id}/end"), &admin, Value::Null)
        .await
        .expect_error("wrong_status");
    house
        .post("/admin/raids/4711/end", &admin, Value::Null)
        .await
        .expect_error("not_found");
    let audit = house.get("/admin/audit", &admin).await.expect_data(200);
    let first = &audit[0];
    assert_eq!(
        (
            &first["actor"],
            &first["action"],
            &first["target"],
            &first["request_id"]
        ),
        (
            &json!("admin:backend"),
            &json!("end_raid"),
            &json!(format!("raid {id}")),
            &json!("req-1")
        )
    );
}

#[tokio::test(start_paused = true)]
async fn an_action_that_cannot_be_audited_is_not_done() {
    let house = RestServer::start().await;
    let (token, admin) = (
        house.guest_token("Ada").await,
        house.scoped_token(Scope::Admin),
    );
    let id = house.create_raid(&token).await["id"].clone();
    house.store.faults().fail_calls(Call::RecordAudit, 1);
    house
        .post(&format!("/admin/raids/{id}/end"), &admin, Value::Null)
        .await
        .expect_error("unavailable");
    let raid = house
        .get(&format!("/raids/{id}"), &token)
        .await
        .expect_data(200);
    assert_eq!(raid["status"], "recruiting");
}

#[tokio::test(start_paused = true)]
async fn the_audit_log_is_read_in_pages() {
    let house = RestServer::start().await;
    let (ada, admin) = (
        house.sign_in_guest("Ada").await,
        house.scoped_token(Scope::Admin),
    );
    let door = format!("/admin/players/{}", ada["player"]["id"]);
    house
        .post(
            &format!("{door}/ban"),
            &admin,
            json!({"reason": "  spam  "}),
        )
        .await
        .expect_data(200);
    house
        .request(&format!("DELETE {door}/ban"), &admin, &[], Value::Null)
        .await
        .expect_data(200);
    house
        .post(&format!("{door}/disconnect"), &admin, Value::Null)
        .await
        .expect_data(200);
    let all = house.get("/admin/audit", &admin).await.expect_data(200);
    let actions: Vec<String> = all
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| json_text(&row["action"]))
        .collect();
    assert_eq!(actions, ["ban", "unban", "disconnect"]);
    assert_eq!(all[0]["details"], json!({"reason": "spam"}));
    let rest = house
        .get(
            &format!("/admin/audit?after={}&limit=1", all[0]["id"]),
            &admin,
        )
        .await
        .expect_data(200);
    assert_eq!(rest, json!([all[1]]));
    house
        .get("/admin/audit?after=x", &admin)
        .await
        .expect_error("invalid");
}

#[tokio::test(start_paused = true)]
async fn an_operator_finds_players_raids_and_instances() {
    let house = RestServer::start().await;
    let (ada, admin) = (
        house.sign_in_guest("Ada").await,
        house.scoped_token(Scope::Admin),
    );
    let (token, id) = (json_text(&ada["access_token"]), ada["player"]["id"].clone());
    let raid = house.create_raid(&token).await;
    let queries = [
        format!("id={id}"),
        "name=AD".to_owned(),
        format!("id={id}&name=ad"),
        String::new(),
    ];
    for query in queries {
        let found = house
            .get(&format!("/admin/players?{query}"), &admin)
            .await
            .expect_data(200);
        assert_eq!(
            (&found[0]["id"], &found[0]["ban"], &found[0]["external_id"]),
            (&id, &Value::Null, &Value::Null)
        );
    }
    for query in [
        "external_id=nobody".to_owned(),
        format!("id={id}&name=ben"),
        format!("id={id}&external_id=x"),
    ] {
        assert_eq!(
            house
                .get(&format!("/admin/players?{query}"), &admin)
                .await
                .expect_data(200),
            json!([]),
            "{query}"
        );
    }
    let code = json_text(&raid["invite_code"]).to_lowercase();
    for query in [
        format!("id={}", raid["id"]),
        format!("invite_code={code}"),
        "title=SHIP".into(),
        format!("id={}&invite_code={code}&title=ship", raid["id"]),
        String::new(),
    ] {
        let found = house
            .get(&format!("/admin/raids?{query}"), &admin)
            .await
            .expect_data(200);
        assert_eq!(found[0]["id"], raid["id"], "{query}");
    }
    for query in [
        format!("id={}&title=sink", raid["id"]),
        "invite_code=22222222".into(),
        "id=4711".into(),
    ] {
        assert_eq!(
            house
                .get(&format!("/admin/raids?{query}"), &admin)
                .await
                .expect_data(200),
            json!([]),
            "{query}"
        );
    }
    let theirs = house
        .get(
            &format!("/admin/players/{id}/raids?status=recruiting"),
            &admin,
        )
        .await
        .expect_data(200);
    assert_eq!(
        (theirs.as_array().map(Vec::len), &theirs[0]["id"]),
        (Some(1), &raid["id"])
    );
    let instances = house.get("/admin/instances", &admin).await.expect_data(200);
    assert_eq!(
        (&instances[0]["release"], &instances[0]["draining"]),
        (&json!(env!("CARGO_PKG_VERSION")), &json!(false))
    );
    for path in [
        "/admin/players?id=",
        "/admin/raids?id=0",
        "/admin/players/1/raids?status=won",
    ] {
        house.get(path, &admin).await.expect_error("invalid");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ban_needs_a_reason_and_a_player() {
    let house = RestServer::start().await;
    let admin = house.scoped_token(Scope::Admin);
    for body in [
        json!({}),
        json!({"reason": " "}),
        json!({"reason": "a\u{0}b"}),
        json!({"reason": "x".repeat(501)}),
    ] {
        assert_eq!(
            house
                .post("/admin/players/1/ban", &admin, body)
                .await
                .invalid_fields(),
            ["reason"]
        );
    }
    for player in ["4711", "0", "ada"] {
        let door = format!("/admin/players/{player}/ban");
        house
            .post(&door, &admin, json!({"reason": "x"}))
            .await
            .expect_error("not_found");
    }
}
