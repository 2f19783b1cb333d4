//! Tests of the routes for the host app's backend: its players, their tokens, raids and members,
//! and the feed.

use raidhall::auth::Scope;
use serde_json::{Value, json};

use crate::rest_server::{RestServer, json_text};

/// Creates a player with an id in the host app.
async fn create_host_app_player(server: &RestServer, service: &str, external_id: &str) -> Value {
    let body = json!({"external_id": external_id, "name": "Ada"});
    server
        .post("/players", service, body)
        .await
        .expect_data(200)["id"]
        .clone()
}

fn new_raid(leader: &Value) -> Value {
    json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2, "leader": leader})
}

#[tokio::test(start_paused = true)]
async fn a_host_app_player_is_created_once_and_keeps_the_first_name() {
    let server = RestServer::start().await;
    let service = server.scoped_token(Scope::Service);
    let first =
        json!({"external_id": "u-7", "name": " Ada ", "role": "admin", "xp": 9000, "id": 4711});
    let made = server
        .post("/players", &service, first)
        .await
        .expect_data(200);
    assert_eq!(
        (&made["name"], &made["external_id"]),
        (&json!("Ada"), &json!("u-7"))
    );
    assert_ne!(made["id"], json!(4711));
    let again = server
        .post(
            "/players",
            &service,
            json!({"external_id": "u-7", "name": "Bob"}),
        )
        .await
        .expect_data(200);
    assert_eq!(again, made);
    let other = server
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
        let answer = server
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
    let server = RestServer::start().await;
    let service = server.scoped_token(Scope::Service);
    let ada = create_host_app_player(&server, &service, "u-1").await;
    let ben = create_host_app_player(&server, &service, "u-2").await;
    let pair = server
        .post(&format!("/players/{ada}/tokens"), &service, Value::Null)
        .await
        .expect_data(201);
    let token = json_text(&pair["access_token"]);
    assert_eq!(server.get("/me", &token).await.expect_data(200)["id"], ada);
    server
        .post(
            "/auth/refresh",
            "",
            json!({"refresh_token": pair["refresh_token"]}),
        )
        .await
        .expect_data(200);
    server
        .post("/players/4711/tokens", &service, Value::Null)
        .await
        .expect_error("not_found");

    let key = [("idempotency-key", "raid-1")];
    let raid = server
        .request("POST /raids", &service, &key, new_raid(&ada))
        .await
        .expect_data(201);
    let again = server
        .request("POST /raids", &service, &key, new_raid(&ada))
        .await
        .expect_data(201);
    assert_eq!((&raid["leader"], &again["id"]), (&ada, &raid["id"]));
    let members = format!("/raids/{}/members", raid["id"]);
    for _ in 0..2 {
        let raid = server
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
            "added once, as a plain member"
        );
    }
    assert_eq!(
        server.get("/raids", &token).await.expect_data(200)[0]["id"],
        raid["id"]
    );
    server
        .post(&members, &service, json!({"player": 4711}))
        .await
        .expect_error("not_found");
    assert_eq!(
        server
            .post(&members, &service, json!({}))
            .await
            .invalid_fields(),
        ["player"]
    );
    server
        .post("/raids/4711/members", &service, json!({"player": ben}))
        .await
        .expect_error("not_found");
    server
        .post("/raids", &service, new_raid(&json!(4711)))
        .await
        .expect_error("not_found");
    server
        .post("/raids", &token, new_raid(&ada))
        .await
        .expect_error("forbidden");
    server
        .post("/raids", &token, new_raid(&Value::Null))
        .await
        .expect_data(201);
    let nameless = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2});
    server
        .post("/raids", &service, nameless)
        .await
        .expect_error("forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_banned_player_gets_no_token_leads_no_raid_and_joins_none() {
    let server = RestServer::start().await;
    let service = server.scoped_token(Scope::Service);
    let admin = server.scoped_token(Scope::Admin);
    let ada = create_host_app_player(&server, &service, "u-1").await;
    let ben = create_host_app_player(&server, &service, "u-2").await;
    let raid = server
        .post("/raids", &service, new_raid(&ada))
        .await
        .expect_data(201)["id"]
        .clone();
    server
        .post(
            &format!("/admin/players/{ben}/ban"),
            &admin,
            json!({"reason": "x"}),
        )
        .await
        .expect_data(200);
    // Instances poll for bans every second.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    server
        .post(&format!("/players/{ben}/tokens"), &service, Value::Null)
        .await
        .expect_error("forbidden");
    server
        .post("/raids", &service, new_raid(&ben))
        .await
        .expect_error("forbidden");
    server
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
    let server = RestServer::start().await;
    let service = server.scoped_token(Scope::Service);
    let ada = create_host_app_player(&server, &service, "u-1").await;
    let empty = server.get("/events", &service).await.body;
    assert_eq!(empty["data"], json!([]));
    let raid = server
        .post("/raids", &service, new_raid(&ada))
        .await
        .expect_data(201)["id"]
        .clone();
    let after = |page: &Value| format!("/events?limit=1&after={}", json_text(&page["next_cursor"]));
    let mut page = empty;
    let mut seen = Vec::new();
    loop {
        page = server.get(&after(&page), &service).await.body;
        let Some(event) = page["data"].as_array().expect("a list").first() else {
            break;
        };
        assert_eq!(event["raid"], raid);
        seen.push(json_text(&event["type"]));
        assert!(seen.len() <= 2, "the feed does not end: {seen:?}");
    }
    assert_eq!(seen, ["raid_created", "member_joined"]);
    server
        .get("/events?after=nonsense", &service)
        .await
        .expect_error("not_found");
    server.store.set_lineage("another");
    server
        .get(&after(&page), &service)
        .await
        .expect_error("not_found");
}

#[tokio::test(start_paused = true)]
async fn backend_actions_are_in_the_audit_log() {
    let server = RestServer::start().await;
    let service = server.scoped_token(Scope::Service);
    let admin = server.scoped_token(Scope::Admin);
    let ada = create_host_app_player(&server, &service, "u-1").await;
    server
        .post(&format!("/players/{ada}/tokens"), &service, Value::Null)
        .await
        .expect_data(201);
    let raid = server
        .post("/raids", &service, new_raid(&ada))
        .await
        .expect_data(201)["id"]
        .clone();
    let ben = create_host_app_player(&server, &service, "u-2").await;
    server
        .post(
            &format!("/raids/{raid}/members"),
            &service,
            json!({"player": ben}),
        )
        .await
        .expect_data(200);
    let note = "about a player";
    let contribute =
        json!({"type": "contribute", "player": ada, "xp": 5, "kind": "habit", "note": note});
    server
        .send_command(&raid, &service, contribute)
        .await
        .expect_error("wrong_status");
    server
        .send_command(&raid, &service, json!({"type": "say", "text": note}))
        .await
        .expect_error("forbidden");
    let add_task = json!({"type": "add_task", "title": note, "xp": 5, "minutes": 5});
    server
        .send_command(&raid, &service, add_task)
        .await
        .expect_data(200);
    server
        .send_command(&raid, &service, json!({"type": "remove_task", "task": 1}))
        .await
        .expect_data(200);
    let audit = server.get("/admin/audit", &admin).await.expect_data(200);
    let actions: Vec<_> = audit
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| json_text(&entry["action"]))
        .collect();
    let expected = [
        "admit_player",
        "mint_tokens",
        "create_raid",
        "admit_player",
        "add_member",
        "command",
        "command",
        "command",
        "command",
    ];
    assert_eq!(actions, expected);
    let details = |index: usize| &audit[index]["details"];
    assert_eq!(details(2), &json!({"ranked": false}));
    assert_eq!(details(7), &json!({"type": "add_task", "xp": 5}));
    assert_eq!(details(8), &json!({"type": "remove_task", "task": 1}));
    assert!(
        !audit.to_string().contains(note),
        "no texts, since an erasure could not remove them"
    );
    assert!(
        audit
            .as_array()
            .expect("a list")
            .iter()
            .all(|entry| entry["actor"] == "service:backend")
    );
}
