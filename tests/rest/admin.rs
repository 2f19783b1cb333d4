//! What operators look up and do, and that all of it is on record.

use raidhall::auth::Scope;
use raidhall::store::memory::Call;
use serde_json::{Value, json};

use crate::house::{House, text};

/// Every operators' door, with a body where it takes one.
fn doors() -> Vec<(&'static str, Value)> {
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
async fn operators_alone_come_in_and_nobody_else_leaves_a_trace() {
    let house = House::open().await;
    let (player, service) = (house.token("Ada").await, house.scoped(Scope::Service));
    for (door, body) in doors() {
        house
            .ask(door, "", &[], body.clone())
            .await
            .failed("unauthenticated");
        house
            .ask(door, &player, &[], body.clone())
            .await
            .failed("forbidden");
        house
            .ask(door, &service, &[], body)
            .await
            .failed("forbidden");
    }
    assert_eq!(
        house
            .get("/admin/audit", &house.scoped(Scope::Admin))
            .await
            .ok(200),
        json!([])
    );
}

#[tokio::test(start_paused = true)]
async fn a_raid_that_an_operator_ends_has_failed_by_nobody_who_plays() {
    let house = House::open().await;
    let (token, admin) = (house.token("Ada").await, house.scoped(Scope::Admin));
    let id = house.raid(&token).await["id"].clone();
    let door = format!("POST /admin/raids/{id}/end");
    let key = [("idempotency-key", "end-1"), ("x-request-id", "req-1")];
    let ended = house.ask(&door, &admin, &key, Value::Null).await.ok(200);
    let again = house.ask(&door, &admin, &key, Value::Null).await.ok(200);
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&ended["seq"], &json!(true))
    );
    let raid = house.get(&format!("/raids/{id}"), &token).await.ok(200);
    assert_eq!(
        (&raid["status"], &raid["reason"]),
        (&json!("failed"), &json!("cancelled"))
    );
    let events = house
        .get(&format!("/raids/{id}/events?after=2"), &token)
        .await
        .ok(200);
    assert_eq!(
        (&events[0]["type"], &events[0]["by"]),
        (&json!("raid_failed"), &Value::Null)
    );
    house
        .post(&format!("/admin/raids/{id}/end"), &admin, Value::Null)
        .await
        .failed("wrong_status");
    house
        .post("/admin/raids/4711/end", &admin, Value::Null)
        .await
        .failed("not_found");
    let audit = house.get("/admin/audit", &admin).await.ok(200);
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
async fn what_cannot_be_recorded_is_not_done() {
    let house = House::open().await;
    let (token, admin) = (house.token("Ada").await, house.scoped(Scope::Admin));
    let id = house.raid(&token).await["id"].clone();
    house.store.faults().fail_calls(Call::RecordAudit, 1);
    house
        .post(&format!("/admin/raids/{id}/end"), &admin, Value::Null)
        .await
        .failed("unavailable");
    let raid = house.get(&format!("/raids/{id}"), &token).await.ok(200);
    assert_eq!(raid["status"], "recruiting");
}

#[tokio::test(start_paused = true)]
async fn the_audit_log_is_read_in_pages() {
    let house = House::open().await;
    let (ada, admin) = (house.guest("Ada").await, house.scoped(Scope::Admin));
    let door = format!("/admin/players/{}", ada["player"]["id"]);
    house
        .post(
            &format!("{door}/ban"),
            &admin,
            json!({"reason": "  spam  "}),
        )
        .await
        .ok(200);
    house
        .ask(&format!("DELETE {door}/ban"), &admin, &[], Value::Null)
        .await
        .ok(200);
    house
        .post(&format!("{door}/disconnect"), &admin, Value::Null)
        .await
        .ok(200);
    let all = house.get("/admin/audit", &admin).await.ok(200);
    let actions: Vec<String> = all
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| text(&row["action"]))
        .collect();
    assert_eq!(actions, ["ban", "unban", "disconnect"]);
    assert_eq!(all[0]["details"], json!({"reason": "spam"}));
    let rest = house
        .get(
            &format!("/admin/audit?after={}&limit=1", all[0]["id"]),
            &admin,
        )
        .await
        .ok(200);
    assert_eq!(rest, json!([all[1]]));
    house
        .get("/admin/audit?after=x", &admin)
        .await
        .failed("invalid");
}

#[tokio::test(start_paused = true)]
async fn players_raids_and_instances_are_found() {
    let house = House::open().await;
    let (ada, admin) = (house.guest("Ada").await, house.scoped(Scope::Admin));
    let (token, id) = (text(&ada["access_token"]), ada["player"]["id"].clone());
    let raid = house.raid(&token).await;
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
            .ok(200);
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
                .ok(200),
            json!([]),
            "{query}"
        );
    }
    let code = text(&raid["invite_code"]).to_lowercase();
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
            .ok(200);
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
                .ok(200),
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
        .ok(200);
    assert_eq!(
        (theirs.as_array().map(Vec::len), &theirs[0]["id"]),
        (Some(1), &raid["id"])
    );
    let instances = house.get("/admin/instances", &admin).await.ok(200);
    assert_eq!(
        (&instances[0]["release"], &instances[0]["draining"]),
        (&json!("test"), &json!(false))
    );
    for path in [
        "/admin/players?id=",
        "/admin/raids?id=0",
        "/admin/players/1/raids?status=won",
    ] {
        house.get(path, &admin).await.failed("invalid");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ban_needs_a_reason_and_a_player() {
    let house = House::open().await;
    let admin = house.scoped(Scope::Admin);
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
                .faulty(),
            ["reason"]
        );
    }
    for player in ["4711", "0", "ada"] {
        let door = format!("/admin/players/{player}/ban");
        house
            .post(&door, &admin, json!({"reason": "x"}))
            .await
            .failed("not_found");
    }
}
