//! Tests of the operators' routes: lookups, actions, and the audit entry of every action.

use raidhall::auth::Scope;
use raidhall::store::faulty::Call;
use serde_json::{Value, json};

use crate::rest_server::{RestServer, json_text};

/// Returns a request for every operators' route, with a body if the route takes one.
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
    let server = RestServer::start().await;
    let player = server.guest_token("Ada").await;
    let service = server.scoped_token(Scope::Service);
    for (route, body) in operator_requests() {
        server
            .request(route, "", &[], body.clone())
            .await
            .expect_error("unauthenticated");
        server
            .request(route, &player, &[], body.clone())
            .await
            .expect_error("forbidden");
        server
            .request(route, &service, &[], body)
            .await
            .expect_error("forbidden");
    }
    assert_eq!(
        server
            .get("/admin/audit", &server.scoped_token(Scope::Admin))
            .await
            .expect_data(200),
        json!([])
    );
}

#[tokio::test(start_paused = true)]
async fn a_raid_ended_by_an_operator_has_no_player_as_its_actor() {
    let server = RestServer::start().await;
    let token = server.guest_token("Ada").await;
    let admin = server.scoped_token(Scope::Admin);
    let id = server.create_raid(&token).await["id"].clone();
    let route = format!("POST /admin/raids/{id}/end");
    let key = [("idempotency-key", "end-1"), ("x-request-id", "req-1")];
    let ended = server
        .request(&route, &admin, &key, Value::Null)
        .await
        .expect_data(200);
    let again = server
        .request(&route, &admin, &key, Value::Null)
        .await
        .expect_data(200);
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&ended["seq"], &json!(true))
    );
    let raid = server
        .get(&format!("/raids/{id}"), &token)
        .await
        .expect_data(200);
    assert_eq!(
        (&raid["status"], &raid["reason"]),
        (&json!("failed"), &json!("cancelled"))
    );
    let events = server
        .get(&format!("/raids/{id}/events?after=2"), &token)
        .await
        .expect_data(200);
    assert_eq!(
        (&events[0]["type"], &events[0]["by"]),
        (&json!("raid_failed"), &Value::Null)
    );
    server
        .post(&format!("/admin/raids/{id}/end"), &admin, Value::Null)
        .await
        .expect_error("wrong_status");
    server
        .post("/admin/raids/4711/end", &admin, Value::Null)
        .await
        .expect_error("not_found");
    let audit = server.get("/admin/audit", &admin).await.expect_data(200);
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
    let server = RestServer::start().await;
    let token = server.guest_token("Ada").await;
    let admin = server.scoped_token(Scope::Admin);
    let id = server.create_raid(&token).await["id"].clone();
    server.store.faults().fail_calls(Call::RecordAudit, 1);
    server
        .post(&format!("/admin/raids/{id}/end"), &admin, Value::Null)
        .await
        .expect_error("unavailable");
    let raid = server
        .get(&format!("/raids/{id}"), &token)
        .await
        .expect_data(200);
    assert_eq!(raid["status"], "recruiting");
}

#[tokio::test(start_paused = true)]
async fn the_audit_log_is_read_in_pages() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let admin = server.scoped_token(Scope::Admin);
    let route = format!("/admin/players/{}", ada["player"]["id"]);
    server
        .post(
            &format!("{route}/ban"),
            &admin,
            json!({"reason": "  spam  "}),
        )
        .await
        .expect_data(200);
    server
        .request(&format!("DELETE {route}/ban"), &admin, &[], Value::Null)
        .await
        .expect_data(200);
    server
        .post(&format!("{route}/disconnect"), &admin, Value::Null)
        .await
        .expect_data(200);
    let all = server.get("/admin/audit", &admin).await.expect_data(200);
    let actions: Vec<String> = all
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| json_text(&row["action"]))
        .collect();
    assert_eq!(actions, ["ban", "unban", "disconnect"]);
    assert_eq!(all[0]["details"], json!({"reason": "spam"}));
    let rest = server
        .get(
            &format!("/admin/audit?after={}&limit=1", all[0]["id"]),
            &admin,
        )
        .await
        .expect_data(200);
    assert_eq!(rest, json!([all[1]]));
    server
        .get("/admin/audit?after=x", &admin)
        .await
        .expect_error("invalid");
}

#[tokio::test(start_paused = true)]
async fn an_operator_finds_players_raids_and_instances() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let admin = server.scoped_token(Scope::Admin);
    let token = json_text(&ada["access_token"]);
    let id = ada["player"]["id"].clone();
    let raid = server.create_raid(&token).await;
    let queries = [
        format!("id={id}"),
        "name=AD".to_owned(),
        format!("id={id}&name=ad"),
        String::new(),
    ];
    for query in queries {
        let found = server
            .get(&format!("/admin/players?{query}"), &admin)
            .await
            .expect_data(200);
        assert_eq!(
            (&found[0]["id"], &found[0]["ban"], &found[0]["external_id"]),
            (&id, &Value::Null, &Value::Null)
        );
    }
    for query in [
        "external_id=unknown".to_owned(),
        format!("id={id}&name=ben"),
        format!("id={id}&external_id=x"),
    ] {
        assert_eq!(
            server
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
        let found = server
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
            server
                .get(&format!("/admin/raids?{query}"), &admin)
                .await
                .expect_data(200),
            json!([]),
            "{query}"
        );
    }
    let theirs = server
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
    let instances = server
        .get("/admin/instances", &admin)
        .await
        .expect_data(200);
    assert_eq!(
        (&instances[0]["release"], &instances[0]["draining"]),
        (&json!(env!("CARGO_PKG_VERSION")), &json!(false))
    );
    for path in [
        "/admin/players?id=",
        "/admin/raids?id=0",
        "/admin/players/1/raids?status=won",
    ] {
        server.get(path, &admin).await.expect_error("invalid");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ban_needs_a_reason_and_a_player() {
    let server = RestServer::start().await;
    let admin = server.scoped_token(Scope::Admin);
    for body in [
        json!({}),
        json!({"reason": " "}),
        json!({"reason": "a\u{0}b"}),
        json!({"reason": "x".repeat(501)}),
    ] {
        assert_eq!(
            server
                .post("/admin/players/1/ban", &admin, body)
                .await
                .invalid_fields(),
            ["reason"]
        );
    }
    for player in ["4711", "0", "ada"] {
        let route = format!("/admin/players/{player}/ban");
        server
            .post(&route, &admin, json!({"reason": "x"}))
            .await
            .expect_error("not_found");
    }
}
