//! Tests of what a leader does about a member who disturbs.

use serde_json::{Value, json};

use crate::rest_server::{RestServer, json_text};

/// A recruiting raid that Ada leads and Ben has joined.
struct ModerationFixture {
    server: RestServer,
    ada: String,
    ben: String,
    ben_id: Value,
    raid: Value,
}

impl ModerationFixture {
    async fn start() -> ModerationFixture {
        let server = RestServer::start().await;
        let ada = server.guest_token("Ada").await;
        let guest = server.sign_in_guest("Ben").await;
        let ben = json_text(&guest["access_token"]);
        let raid = server.create_raid(&ada).await;
        let code = json!({"invite_code": raid["invite_code"]});
        let raid = server
            .post("/raids/join", &ben, code)
            .await
            .expect_data(200);
        ModerationFixture {
            server,
            ada,
            ben,
            ben_id: guest["player"]["id"].clone(),
            raid,
        }
    }

    async fn send(&self, token: &str, cmd: Value) {
        let answer = self.server.send_command(&self.raid["id"], token, cmd);
        answer.await.expect_data(200);
    }

    async fn read(&self) -> Value {
        let path = format!("/raids/{}", self.raid["id"]);
        self.server.get(&path, &self.ada).await.expect_data(200)
    }
}

#[tokio::test(start_paused = true)]
async fn a_kick_leaves_nothing_of_a_members_junk_tasks() {
    let fixture = ModerationFixture::start().await;
    let add = |title| json!({"type": "add_task", "title": title, "xp": 10, "minutes": 5});
    fixture.send(&fixture.ada, add("Ours")).await;
    for _ in 0..50 {
        fixture.send(&fixture.ben, add("junk")).await;
    }
    let kick = json!({"type": "kick", "player": fixture.ben_id});
    fixture.send(&fixture.ada, kick).await;
    let raid = fixture.read().await;
    let tasks = raid["tasks"].as_array().expect("tasks");
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0]["title"], "Ours");
    let path = format!("/raids/{}/events?after=54&limit=100", raid["id"]);
    let events = fixture.server.get(&path, &fixture.ada).await;
    let events = events.expect_data(200);
    let kinds = events.as_array().expect("events").iter();
    let kinds: Vec<_> = kinds.map(|event| json_text(&event["type"])).collect();
    assert_eq!(kinds[0], "member_left");
    assert_eq!(kinds[1..], vec!["task_removed"; 50]);
}

#[tokio::test(start_paused = true)]
async fn an_edited_task_shows_who_changed_its_title() {
    let fixture = ModerationFixture::start().await;
    let add = json!({"type": "add_task", "title": "Swep", "xp": 10, "minutes": 5});
    fixture.send(&fixture.ben, add).await;
    let edit = json!({"type": "edit_task", "task": 1, "title": "Sweep", "minutes": 15});
    fixture.send(&fixture.ada, edit).await;
    let raid = fixture.read().await;
    let task = &raid["tasks"][0];
    assert_eq!(
        (&task["title"], &task["minutes"], &task["xp"]),
        (&json!("Sweep"), &json!(15), &json!(10))
    );
    assert_eq!(
        (&task["by"], &task["edited_by"]),
        (&fixture.ben_id, &raid["leader"])
    );
    let remove = json!({"type": "remove_task", "task": 1});
    fixture.send(&fixture.ben, remove).await;
    assert_eq!(fixture.read().await["tasks"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_invite_code_is_not_found() {
    let fixture = ModerationFixture::start().await;
    let old = json!({"invite_code": fixture.raid["invite_code"]});
    fixture
        .send(&fixture.ada, json!({"type": "rotate_invite"}))
        .await;
    let new = json!({"invite_code": fixture.read().await["invite_code"]});
    assert_ne!(old, new);
    let cy = fixture.server.guest_token("Cy").await;
    fixture
        .server
        .post("/raids/join", &cy, old)
        .await
        .expect_error("not_found");
    fixture
        .server
        .post("/raids/join", &cy, new.clone())
        .await
        .expect_data(200);
    let mine = fixture.server.get("/raids", &cy).await.expect_data(200);
    assert_eq!(mine[0]["invite_code"], new["invite_code"]);
}

#[tokio::test(start_paused = true)]
async fn a_muted_member_is_shown_and_cannot_chat() {
    let fixture = ModerationFixture::start().await;
    let until = fixture.server.clock.now().0 + 60_000;
    let mute = json!({"type": "mute", "player": fixture.ben_id, "until": until});
    fixture.send(&fixture.ada, mute).await;
    assert_eq!(fixture.read().await["members"][1]["muted_until"], until);
    let say = json!({"type": "say", "text": "hi"});
    fixture
        .server
        .send_command(&fixture.raid["id"], &fixture.ben, say.clone())
        .await
        .expect_error("forbidden");
    let lift = json!({"type": "mute", "player": fixture.ben_id, "until": null});
    fixture.send(&fixture.ada, lift).await;
    fixture.send(&fixture.ben, say).await;
}
