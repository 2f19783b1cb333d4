//! The host app's backend: players of its own, their tokens, raids and members for them, and the feed.

use raidhall::auth::Scope;
use serde_json::{Value, json};

use crate::rest_server::{RestServer, json_text};

/// A player of the host app.
async fn create_host_app_player(house: &RestServer, service: &str, external_id: &str) -> Value {
    let body = json!({"external_id": external_id, "name": "Ada"});
    house.post("/players", service, body).await.expect_data(200)["id"].clone()
}

fn new_raid(leader: &Value) -> Value {
    json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2, "leader": leader})
}

#[tokio::test(start_paused = true)]
async fn a_host_app_player_is_created_once_and_keeps_the_first_name() {
    let house = RestServer::start().await;
    let service = house.scoped_token(Scope::Service);
    let first =
        json!({"external_id": "u-7", "name": " Ada ", "role": "admin", "xp": 9000, "id": 4711});
    let made = house
        .post("/players", &service, first)
        .await
        .expect_data(200);
    assert_eq!(
        (&made["name"], &made["external_id"]),
        (&json!("Ada"), &json!("u-7"))
    );
    assert_ne!(made["id"], json!(4711));
    let again = house
        .post(
            "/players",
            &service,
            json!({"external_id": "u-7", "name": "Bob"}),
        )
        .await
        .expect_data(200);
    assert_eq!(again, made);
    let other = house
        .post(
            "/players",
            &service,
            json!({"external_id": "u-8", "name": "Ada"}),
        )
        .await
        .expect_data(200);
    assert_ne!(other["id"], made["id"]);
    for (id, name, faulty) in [
        (json!(7), json!(""), vec!["external_id", "name"]),
        (json!(""), json!("Ada"), vec!["external_id"]),
        (json!(" u"), json!("Ada"), vec!["external_id"]),
        (
            json!("a\u{0}b"),
            json!("a\u{0}b"),
            vec!["external_id", "name"],
        ),
        (json!("x".repeat(201)), json!("Ada"), vec!["external_id"]),
    ] {
        let answer = house
            .post(
                "/players",
                &service,
                json!({"external_id": id, "name": name}),
            )
            .await;
        assert_eq!(answer.invalid_fields(), faulty, "{id} {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_issues_tokens_creates_raids_and_adds_members() {
    let house = RestServer::start().await;
    let service = house.scoped_token(Scope::Service);
    let (ada, ben) = (
        create_host_app_player(&house, &service, "u-1").await,
        create_host_app_player(&house, &service, "u-2").await,
    );
    let pair = house
        .post(&format!("/players/{ada}/tokens"), &service, Value::Null)
        .await
        .expect_data(201);
    let token = json_text(&pair["access_token"]);
    assert_eq!(house.get("/me", &token).await.expect_data(200)["id"], ada);
    house
        .post(
            "/auth/refresh",
            "",
            json!({"refresh_token": pair["refresh_token"]}),
        )
        .await
        .expect_data(200);
    house
        .post("/players/4711/tokens", &service, Value::Null)
        .await
        .expect_error("not_found");

    let key = [("idempotency-key", "raid-1")];
    let raid = house
        .request("POST /raids", &service, &key, new_raid(&ada))
        .await
        .expect_data(201);
    let again = house
        .request("POST /raids", &service, &key, new_raid(&ada))
        .await
        .expect_data(201);
    assert_eq!((&raid["leader"], &again["id"]), (&ada, &raid["id"]));
    let members = format!("/raids/{}/members", raid["id"]);
    for _ in 0..2 {
        let raid = house
            .post(&members, &service, json!({"player": ben, "role": "leader"}))
            .await
            .expect_data(200);
        let roles: Vec<_> = raid["members"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|it| &it["role"])
            .collect();
        assert_eq!(
            roles,
            [&json!("leader"), &json!("member")],
            "added once, and as what members are"
        );
    }
    assert_eq!(
        house.get("/raids", &token).await.expect_data(200)[0]["id"],
        raid["id"]
    );
    house
        .post(&members, &service, json!({"player": 4711}))
        .await
        .expect_error("not_found");
    assert_eq!(
        house
            .post(&members, &service, json!({}))
            .await
            .invalid_fields(),
        ["player"]
    );
    house
        .post("/raids/4711/members", &service, json!({"player": ben}))
        .await
        .expect_error("not_found");
    house
        .post("/raids", &service, new_raid(&json!(4711)))
        .await
        .expect_error("not_found");
    house
        .post("/raids", &token, new_raid(&ada))
        .await
        .expect_error("forbidden");
    house
        .post("/raids", &token, new_raid(&Value::Null))
        .await
        .expect_data(201);
    let nameless = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2});
    house
        .post("/raids", &service, nameless)
        .await
        .expect_error("forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_banned_player_gets_no_token_leads_no_raid_and_joins_none() {
    let house = RestServer::start().await;
    let (service, admin) = (
        house.scoped_token(Scope::Service),
        house.scoped_token(Scope::Admin),
    );
    let (ada, ben) = (
        create_host_app_player(&house, &service, "u-1").await,
        create_host_app_player(&house, &service, "u-2").await,
    );
    let raid = house
        .post("/raids", &service, new_raid(&ada))
        .await
        .expect_data(201)["id"]
        .clone();
    house
        .post(
            &format!("/admin/players/{ben}/ban"),
            &admin,
            json!({"reason": "x"}),
        )
        .await
        .expect_data(200);
    // The ban is noticed within its second.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    house
        .post(&format!("/players/{ben}/tokens"), &service, Value::Null)
        .await
        .expect_error("forbidden");
    house
        .post("/raids", &service, new_raid(&ben))
        .await
        .expect_error("forbidden");
    house
        .post(
            &format!("/raids/{raid}/members"),
            &service,
            json!({"player": ben}),
        )
        .await
        .expect_error("forbidden");
}

#[tokio::test(start_paused = true)]
async fn the_feed_resumes_at_its_cursor_but_not_in_another_lineage() {
    let house = RestServer::start().await;
    let service = house.scoped_token(Scope::Service);
    let ada = create_host_app_player(&house, &service, "u-1").await;
    let empty = house.get("/events", &service).await.body;
    assert_eq!(empty["data"], json!([]));
    let raid = house
        .post("/raids", &service, new_raid(&ada))
        .await
        .expect_data(201)["id"]
        .clone();
    let after = |page: &Value| format!("/events?limit=1&after={}", json_text(&page["next_cursor"]));
    let (mut page, mut seen) = (empty, Vec::new());
    loop {
        page = house.get(&after(&page), &service).await.body;
        let Some(event) = page["data"].as_array().expect("a list").first() else {
            break;
        };
        assert_eq!(event["raid"], raid);
        seen.push(json_text(&event["type"]));
    }
    assert_eq!(seen, ["raid_created", "member_joined"]);
    house
        .get("/events?after=nonsense", &service)
        .await
        .expect_error("not_found");
    house.store.set_lineage("another");
    house
        .get(&after(&page), &service)
        .await
        .expect_error("not_found");
}

#[tokio::test(start_paused = true)]
async fn backend_actions_are_in_the_audit_log() {
    let house = RestServer::start().await;
    let (service, admin) = (
        house.scoped_token(Scope::Service),
        house.scoped_token(Scope::Admin),
    );
    let ada = create_host_app_player(&house, &service, "u-1").await;
    house
        .post(&format!("/players/{ada}/tokens"), &service, Value::Null)
        .await
        .expect_data(201);
    let raid = house
        .post("/raids", &service, new_raid(&ada))
        .await
        .expect_data(201)["id"]
        .clone();
    let ben = create_host_app_player(&house, &service, "u-2").await;
    house
        .post(
            &format!("/raids/{raid}/members"),
            &service,
            json!({"player": ben}),
        )
        .await
        .expect_data(200);
    let note = "about somebody";
    let contribute =
        json!({"type": "contribute", "player": ada, "xp": 5, "kind": "habit", "note": note});
    house
        .send_command(&raid, &service, contribute)
        .await
        .expect_error("wrong_status");
    house
        .send_command(&raid, &service, json!({"type": "say", "text": note}))
        .await
        .expect_error("forbidden");
    let audit = house.get("/admin/audit", &admin).await.expect_data(200);
    let actions: Vec<_> = audit
        .as_array()
        .expect("a list")
        .iter()
        .map(|deed| json_text(&deed["action"]))
        .collect();
    let expected = [
        "admit_player",
        "mint_tokens",
        "create_raid",
        "admit_player",
        "add_member",
        "command",
        "command",
    ];
    assert_eq!(actions, expected);
    assert!(
        !audit.to_string().contains(note),
        "no texts, which nobody could take back"
    );
    assert!(
        audit
            .as_array()
            .expect("a list")
            .iter()
            .all(|deed| deed["actor"] == "service:backend")
    );
}
