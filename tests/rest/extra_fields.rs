//! What nobody asked for in a body changes nothing: every body of the OpenAPI document, with and without it.

use crate::house::{House, text};
use raidhall::auth::Scope;
use serde_json::{Map, Value, json};

/// What somebody may hope to slip in.
fn hopes() -> Map<String, Value> {
    let hopes = json!({
        "role": "leader", "xp": 1_000_000, "tasks": 99, "id": 4711, "owner": 1, "scope": "admin", "is_admin": true,
        "energy": 1_000, "status": "completed", "current_xp": 1_000_000, "raids_won": 9, "by": 1, "seq": 99, "banned": false,
    });
    hopes.as_object().expect("a map").clone()
}

/// A raid that Ada leads and Ben is in, under way; Cy is in none.
struct Scene {
    house: House,
    ben: String,
    cy: String,
    raid: Value,
}

impl Scene {
    async fn set() -> Scene {
        let house = House::open().await;
        let (ada, ben) = (house.token("Ada").await, house.token("Ben").await);
        let cy = house.token("Cy").await;
        let new = json!({"title": "Ship it", "target_xp": 100, "target_tasks": 2, "late_join": true});
        let raid = house.post("/raids", &ada, new).await.ok(201);
        house.post("/raids/join", &ben, json!({"invite_code": raid["invite_code"]})).await.ok(200);
        house.command(&raid["id"], &ada, json!({"type": "start"})).await.ok(200);
        Scene { house, ben, cy, raid }
    }

    /// The status of the answer, and what Ben and the raid are after it. Without what differs from one scene to the next.
    async fn after(&self, path: &str, tag: &str, body: &Value) -> (u16, Value) {
        let token = match tag {
            "The host app's backend" => self.house.scoped(Scope::Service),
            "Operators" => self.house.scoped(Scope::Admin),
            _ if path.ends_with("/join") => self.cy.clone(),
            _ => self.ben.clone(),
        };
        let path = path.trim_start_matches("/api/v1");
        let id = if path.contains("/players/") { json!(2) } else { self.raid["id"].clone() };
        let answer = self.house.post(&path.replace("{id}", &id.to_string()), &token, body.clone()).await;
        let mut raid =
            self.house.get(&format!("/raids/{}", self.raid["id"]), &self.house.scoped(Scope::Admin)).await;
        let raid = raid.body["data"].take();
        let players = self.house.get("/admin/players", &self.house.scoped(Scope::Admin)).await.body;
        let told =
            json!([raid["status"], raid["current_xp"], raid["members"], raid["tasks"], raid["seq"], players]);
        (answer.status.as_u16(), told)
    }

    /// The document's example, made to fit this scene.
    fn fit(&self, example: &Value) -> Value {
        let mut body = example.clone();
        if body["invite_code"].is_string() {
            body["invite_code"] = self.raid["invite_code"].clone();
        }
        if body["player"].is_number() {
            body["player"] = json!(3);
        }
        body
    }
}

/// The body with the hopes in it, and in every map inside, wherever it has no such field of its own.
fn hopeful(body: &Value) -> Value {
    let Value::Object(fields) = body else { return body.clone() };
    let mut all = hopes();
    all.extend(fields.iter().map(|(name, value)| (name.clone(), hopeful(value))));
    Value::Object(all)
}

/// The example, or one for each kind of command that Ben may try.
fn variants(example: &Value) -> Vec<Value> {
    if example["cmd"].is_null() {
        return vec![example.clone()];
    }
    let commands = [
        json!({"type": "add_task", "title": "Sweep", "xp": 10, "minutes": 5}),
        json!({"type": "say", "text": "hello"}),
        json!({"type": "claim_task", "task": 1}),
        json!({"type": "contribute", "player": 2, "xp": 5, "kind": "habit"}),
        json!({"type": "promote", "player": 1}),
        json!({"type": "leave"}),
    ];
    commands.into_iter().map(|cmd| json!({ "cmd": cmd })).collect()
}

#[tokio::test(start_paused = true)]
async fn fields_that_nobody_asked_for_change_nothing_in_any_body() {
    let document: Value = serde_json::from_str(include_str!("../../protocol/openapi.json")).expect("JSON");
    let mut bodies = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for operation in methods.as_object().expect("methods").values() {
            let example = &operation["requestBody"]["content"]["application/json"]["example"];
            if example.is_null() {
                continue;
            }
            let tag = text(&operation["tags"][0]);
            for example in variants(example) {
                bodies += 1;
                let (plain, with_hopes) = (Scene::set().await, Scene::set().await);
                let expected = plain.after(path, &tag, &plain.fit(&example)).await;
                let body = hopeful(&with_hopes.fit(&example));
                let (status, told) = with_hopes.after(path, &tag, &body).await;
                assert_eq!(
                    (status, without_times(told)),
                    (expected.0, without_times(expected.1)),
                    "{path} {body}"
                );
                assert!(expected.0 != 422, "{path}: the example is refused");
            }
        }
    }
    assert!(bodies > 14, "{bodies} bodies");
}

/// The paused clock stands at other moments in other scenes.
fn without_times(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.retain(|name, _| !name.ends_with("_at"));
            map.values_mut().for_each(|value| *value = without_times(value.take()));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| *value = without_times(value.take())),
        _ => {}
    }
    value
}
