//! Tests that unknown fields in a request body change nothing, for every body of the OpenAPI
//! document.

use std::time::Duration;

use raidhall::auth::Scope;
use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};

use crate::external_auth_server::ExternalAuthServer;
use crate::rest_server::json_text;

/// How long the projector may take.
const PROJECTION_TIME: Duration = Duration::from_secs(10);

/// Returns fields that an attacker may try to slip into a body.
fn injected_fields() -> Map<String, Value> {
    let injected = json!({
        "role": "leader", "xp": 1_000_000, "tasks": 99, "id": 4711, "owner": 1, "scope": "admin", "is_admin": true,
        "energy": 1_000, "status": "completed", "current_xp": 1_000_000, "raids_won": 9, "by": 1, "seq": 99, "banned": false,
    });
    injected.as_object().expect("a map").clone()
}

/// An active raid with an open task, led by Ada and joined by Ben, who is on the leaderboards. Cy is a
/// guest without a raid.
/// The server accepts external identities.
struct ExtraFieldsFixture {
    server: ExternalAuthServer,
    ada: String,
    ben: Value,
    cy: String,
    raid: Value,
}

impl ExtraFieldsFixture {
    async fn start() -> ExtraFieldsFixture {
        let external = ExternalAuthServer::start().await;
        let server = &external.server;
        let ada = server.guest_token("Ada").await;
        let ben = server.sign_in_guest("Ben").await;
        let cy = server.guest_token("Cy").await;
        let new =
            json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2, "late_join": true});
        let raid = server.post("/raids", &ada, new).await.expect_data(201);
        let code = json!({"invite_code": raid["invite_code"]});
        server
            .post("/raids/join", &json_text(&ben["access_token"]), code)
            .await
            .expect_data(200);
        for cmd in [
            json!({"type": "start"}),
            json!({"type": "add_task", "title": "Sweep", "xp": 10, "minutes": 5}),
        ] {
            server
                .send_command(&raid["id"], &ada, cmd)
                .await
                .expect_data(200);
        }
        let service = server.scoped_token(Scope::Service);
        let credit =
            json!({"type": "contribute", "player": ben["player"]["id"], "xp": 5, "kind": "habit"});
        server
            .send_command(&raid["id"], &service, credit)
            .await
            .expect_data(200);
        let is_scored = async {
            let token = json_text(&ben["access_token"]);
            while server.get("/boards/daily", &token).await.body["me"].is_null() {
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(PROJECTION_TIME, is_scored).await.expect("in time");
        ExtraFieldsFixture {
            server: external,
            ada,
            ben,
            cy,
            raid,
        }
    }

    /// Returns the token of a caller who may make the request.
    fn token_for(&self, path: &str, tag: &str, body: &Value) -> String {
        match (tag, body["cmd"]["type"].as_str()) {
            ("The host app's backend", _) | (_, Some("contribute")) => {
                self.server.server.scoped_token(Scope::Service)
            }
            ("Operators", _) => self.server.server.scoped_token(Scope::Admin),
            (
                _,
                Some(
                    "promote" | "kick" | "mute" | "rotate_invite" | "cancel" | "edit_task"
                    | "remove_task",
                ),
            ) => self.ada.clone(),
            _ if path.ends_with("/join") || path.ends_with("/link") => self.cy.clone(),
            _ => json_text(&self.ben["access_token"]),
        }
    }

    /// Makes the request, and returns its response and the state of the raid and the players after
    /// it.
    async fn request_and_read(&self, path: &str, tag: &str, body: &Value) -> Value {
        let server = &self.server.server;
        let id = if path.contains("/players/") {
            json!(2)
        } else {
            self.raid["id"].clone()
        };
        let request_path = path
            .trim_start_matches("/api/v1")
            .replace("{id}", &id.to_string())
            .replace("{name}", "app")
            .replace("{board}", "daily")
            .replace("{player}", "2");
        let answer = server
            .post(
                &request_path,
                &self.token_for(path, tag, body),
                body.clone(),
            )
            .await;
        assert!(answer.status.is_success(), "{path} {body}: {answer:?}");
        let admin = server.scoped_token(Scope::Admin);
        let raid = server
            .get(&format!("/raids/{}", self.raid["id"]), &admin)
            .await
            .expect_data(200);
        let players = server.get("/admin/players", &admin).await.expect_data(200);
        without_random_values(json!([answer.body["data"], raid, players]))
    }

    /// Returns the document's example with the values of this fixture.
    fn fit_example(&self, example: &Value) -> Value {
        let mut body = example.clone();
        let fitting = [
            ("invite_code", self.raid["invite_code"].clone()),
            ("player", json!(3)),
            ("refresh_token", self.ben["refresh_token"].clone()),
            ("init_data", json!(self.server.init_data(5, 0))),
            ("token", json!(self.server.host_app_token("u-9", "Cy"))),
        ];
        for (field, value) in fitting {
            if !body[field].is_null() {
                body[field] = value;
            }
        }
        body
    }
}

/// Adds the injected fields to the body and to every map in it; fields that exist keep their
/// values.
fn with_injected_fields(body: &Value) -> Value {
    let Value::Object(fields) = body else {
        return body.clone();
    };
    let mut all = injected_fields();
    all.extend(
        fields
            .iter()
            .map(|(name, value)| (name.clone(), with_injected_fields(value))),
    );
    Value::Object(all)
}

/// Returns the example, or for a command one example of each command type.
fn example_variants(path: &str, example: &Value) -> Vec<Value> {
    if example["cmd"].is_null() {
        return vec![example.clone()];
    }
    if path.contains("/me/") || path.contains("/players/") {
        let notice = json!({"type": "notify", "kind": "sale", "title": "Sale", "body": "Now"});
        let commands = if path.contains("/me/") {
            vec![
                json!({"type": "set_setting", "key": "theme", "value": "dark"}),
                json!({"type": "set_name", "name": "Benedict"}),
                json!({"type": "read_through", "seq": 0}),
            ]
        } else {
            vec![notice]
        };
        let with_op = |cmd| json!({"op": "k1", "cmd": cmd});
        return commands.into_iter().map(with_op).collect();
    }
    let commands = [
        json!({"type": "add_task", "title": "Mop", "xp": 10, "minutes": 5}),
        json!({"type": "edit_task", "task": 1, "minutes": 10}),
        json!({"type": "remove_task", "task": 1}),
        json!({"type": "claim_task", "task": 1}),
        json!({"type": "say", "text": "hello"}),
        json!({"type": "leave"}),
        json!({"type": "kick", "player": 2}),
        json!({"type": "promote", "player": 2}),
        json!({"type": "mute", "player": 2}),
        json!({"type": "rotate_invite"}),
        json!({"type": "cancel"}),
        json!({"type": "contribute", "player": 2, "xp": 5, "kind": "habit"}),
    ];
    commands
        .into_iter()
        .map(|cmd| json!({ "cmd": cmd }))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn unknown_fields_change_nothing_in_any_request_body() {
    let document: Value =
        serde_json::from_str(include_str!("../../protocol/openapi.json")).expect("JSON");
    let mut bodies = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let Some(body) = operation.get("requestBody") else {
                continue;
            };
            assert_eq!(method, "post", "{path}: teach this test other methods");
            let tag = json_text(&operation["tags"][0]);
            for example in example_variants(path, &body["content"]["application/json"]["example"]) {
                assert!(example.is_object(), "{path} has no example");
                bodies += 1;
                let plain = ExtraFieldsFixture::start().await;
                let with_injected = ExtraFieldsFixture::start().await;
                let expected = plain
                    .request_and_read(path, &tag, &plain.fit_example(&example))
                    .await;
                let body = with_injected_fields(&with_injected.fit_example(&example));
                assert_eq!(
                    with_injected.request_and_read(path, &tag, &body).await,
                    expected,
                    "{path} {body}"
                );
            }
        }
    }
    assert!(bodies > 16, "{bodies} bodies");
}

/// Removes values that differ between two fixtures: times, because their paused clocks differ, and
/// random codes and tokens.
fn without_random_values(mut value: Value) -> Value {
    const RANDOM_FIELDS: [&str; 5] = [
        "invite_code",
        "access_token",
        "refresh_token",
        "deadline",
        "at",
    ];
    match &mut value {
        Value::Object(map) => {
            map.retain(|name, _| !name.ends_with("_at") && !RANDOM_FIELDS.contains(&name.as_str()));
            for value in map.values_mut() {
                *value = without_random_values(value.take());
            }
        }
        Value::Array(list) => {
            for value in list {
                *value = without_random_values(value.take());
            }
        }
        _ => {}
    }
    value
}
