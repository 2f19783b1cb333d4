//! Tests of a player's stream by REST.

use raidhall::auth::Scope;
use raidhall::store::PlayerStreams;
use raidhall::store::faulty::Call;
use raidhall_protocol::PlayerId;
use serde_json::{Value, json};

use crate::rest_server::{RestServer, json_text};

fn set(key: &str, value: impl Into<Value>) -> Value {
    json!({"type": "set_setting", "key": key, "value": value.into()})
}

fn notice() -> Value {
    json!({"type": "notify", "kind": "sale", "title": "Sale", "body": "Frames for half", "url": null})
}

#[tokio::test(start_paused = true)]
async fn a_state_is_a_function_of_the_events() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let token = json_text(&ada["access_token"]);
    let empty = server.get("/me/state", &token).await.expect_data(200);
    let id = &ada["player"]["id"];
    let inbox = json!({"unread": 0, "items": []});
    let streak = json!({
        "days": 0, "best": 0, "day": null, "freezes": 0, "lapses_at": null,
        "repairable_days": 0, "repairable_from": null, "repairable_until": null,
    });
    let state = json!({
        "id": id, "name": "Ada", "xp": 0, "earned_xp": 0, "level": 1, "level_xp": 0,
        "next_level_xp": 100, "coins": 0, "tasks": 0, "raids_won": 0, "raids_played": 0,
        "raids": [], "skills": [], "achievements": [], "counters": [], "items": [],
        "streak": streak, "equipped": {}, "settings": {}, "inbox": inbox, "read_through": 0,
    });
    assert_eq!(empty, json!({"seq": 0, "state": state}));

    let command = json!({"op": "k1", "cmd": set("theme", "dark")});
    let sent = server.post("/me/commands", &token, command.clone()).await;
    assert_eq!(sent.expect_data(200), json!({"seq": 1, "duplicate": false}));
    let again = server.post("/me/commands", &token, command).await;
    assert_eq!(again.expect_data(200), json!({"seq": 1, "duplicate": true}));
    let notified = json!({"op": "sale-5", "cmd": notice()});
    let service = server.scoped_token(Scope::Service);
    let path = format!("/players/{id}/commands");
    let sent = server.post(&path, &service, notified).await;
    assert_eq!(sent.expect_data(200), json!({"seq": 2, "duplicate": false}));

    let events = server
        .get("/me/events?after=1", &token)
        .await
        .expect_data(200);
    let event = &events[0];
    let data = json!({"title": "Sale", "body": "Frames for half", "url": null});
    assert_eq!(event["type"], "notified");
    assert_eq!(event["data"], json!({"kind": "sale", "data": data}));
    assert_eq!(event["cause"], Value::Null);
    let state = server.get("/me/state", &token).await.expect_data(200);
    assert_eq!(state["seq"], 2);
    let theme = json!({"value": "dark", "version": 1});
    assert_eq!(state["state"]["settings"], json!({"theme": theme}));
    let item = &state["state"]["inbox"]["items"][0];
    assert_eq!((&item["seq"], &item["data"]), (&json!(2), &data));
}

#[tokio::test(start_paused = true)]
async fn a_new_name_is_that_of_raids_joined_later() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let token = json_text(&ada["access_token"]);
    let before = server.create_raid(&token).await;
    let rename = json!({"cmd": {"type": "set_name", "name": "Countess"}});
    let renamed = server.post("/me/commands", &token, rename).await;
    renamed.expect_data(200);

    let after = server.create_raid(&token).await;
    assert_eq!(before["members"][0]["name"], "Ada");
    assert_eq!(after["members"][0]["name"], "Countess");
    let bob = server.sign_in_guest("Bob").await;
    let bob = json_text(&bob["access_token"]);
    let invited = server.create_raid(&bob).await;
    let code = json!({"invite_code": invited["invite_code"]});
    let joined = server.post("/raids/join", &token, code).await;
    assert_eq!(joined.expect_data(200)["members"][1]["name"], "Countess");
    let profile = server.get("/me", &token).await.expect_data(200);
    assert_eq!(profile["name"], "Countess");
}

#[tokio::test(start_paused = true)]
async fn a_player_sends_two_commands_a_second() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let token = json_text(&ada["access_token"]);
    let mut statuses = Vec::new();
    for n in 0..5 {
        let command = json!({"cmd": set("app.n", n)});
        let sent = server.post("/me/commands", &token, command).await;
        statuses.push(sent.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 200, 429], "a burst of four");
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let command = json!({"cmd": set("app.n", 5)});
    let sent = server.post("/me/commands", &token, command).await;
    assert_eq!(sent.expect_data(200)["seq"], 5);
}

#[tokio::test(start_paused = true)]
async fn bad_commands_are_refused_with_typed_errors() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let token = json_text(&ada["access_token"]);
    let service = server.scoped_token(Scope::Service);
    let path = format!("/players/{}/commands", ada["player"]["id"]);

    let bad = json!({"op": "a b", "cmd": {"type": "set_setting", "key": 7, "if_version": -1}});
    let refused = server.post("/me/commands", &token, bad).await;
    assert_eq!(refused.invalid_fields(), ["op", "key", "if_version"]);
    let stale =
        json!({"cmd": {"type": "set_setting", "key": "theme", "value": "dark", "if_version": 2}});
    let refused = server.post("/me/commands", &token, stale).await;
    refused.expect_error("conflict");
    let refused = server
        .post("/me/commands", &token, json!({"cmd": notice()}))
        .await;
    refused.expect_error("forbidden");
    let refused = server.post(&path, &service, json!({"cmd": notice()})).await;
    assert_eq!(refused.invalid_fields(), ["op"]);
    let used = json!({"op": "k1", "cmd": set("theme", "dark")});
    let sent = server.post("/me/commands", &token, used).await;
    sent.expect_data(200);
    let bad = json!({"op": "k1", "cmd": set("theme", "pink")});
    let refused = server.post("/me/commands", &token, bad).await;
    assert_eq!(
        refused.invalid_fields(),
        ["value"],
        "though the op was used"
    );
    let theme = json!({"op": "k", "cmd": set("theme", "dark")});
    let refused = server.post(&path, &service, theme).await;
    refused.expect_error("forbidden");
    let notified = json!({"op": "k", "cmd": notice()});
    let refused = server
        .post("/players/999/commands", &service, notified)
        .await;
    refused.expect_error("not_found");
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_gives_a_retryable_error_and_an_op_a_safe_retry() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let token = json_text(&ada["access_token"]);
    let command = json!({"op": "k1", "cmd": set("theme", "dark")});
    for call in [Call::LoadStream, Call::AppendToStream] {
        server.store.faults().fail_calls(call, 1);
        let failed = server.post("/me/commands", &token, command.clone()).await;
        failed.expect_error("unavailable");
    }
    let sent = server.post("/me/commands", &token, command.clone()).await;
    assert_eq!(sent.expect_data(200), json!({"seq": 1, "duplicate": false}));
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_commit_lost_its_reply_reaches_the_devices() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let token = json_text(&ada["access_token"]);
    server.store.faults().stall_answers(Call::AppendToStream, 1);
    let command = json!({"cmd": set("theme", "dark")});
    let (stream, _) = tokio::join!(
        server.get("/me/stream", &token),
        server.post("/me/commands", &token, command),
    );
    let text = json_text(&stream.body);
    assert!(text.contains("event: setting_set\nid: 1\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_erased_player_has_no_stream() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let token = json_text(&ada["access_token"]);
    let command = json!({"cmd": set("theme", "dark")});
    let sent = server.post("/me/commands", &token, command).await;
    sent.expect_data(200);
    let erased = server.request("DELETE /me", &token, &[], Value::Null).await;
    erased.expect_data(202);

    let id = ada["player"]["id"].as_u64().expect("an id");
    let id = PlayerId::try_from(id).expect("an id");
    let loaded = server.store.load_stream(id, None).await;
    assert_eq!(loaded.expect("load"), None);
    let path = format!("/players/{id}/commands");
    let notified = json!({"op": "k", "cmd": notice()});
    let refused = server
        .post(&path, &server.scoped_token(Scope::Service), notified)
        .await;
    refused.expect_error("not_found");
}

#[tokio::test(start_paused = true)]
async fn the_service_grants_and_the_player_buys_and_wears() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let token = json_text(&ada["access_token"]);
    let service = server.scoped_token(Scope::Service);
    let path = format!("/players/{}/commands", ada["player"]["id"]);
    let buy = json!({"cmd": {"type": "buy", "item": "frame_bronze"}});
    let refused = server.post("/me/commands", &token, buy.clone()).await;
    refused.expect_error("not_enough_coins");
    let grant = |op: &str, amount: i64| {
        let command = json!({"type": "grant_coins", "amount": amount, "note": "goodwill"});
        json!({"op": op, "cmd": command})
    };
    let refused = server.post(&path, &service, grant("fine", -1)).await;
    refused.expect_error("not_enough_coins");

    let sent = server.post(&path, &service, grant("gift", 150)).await;
    assert_eq!(sent.expect_data(200), json!({"seq": 1, "duplicate": false}));
    let again = server.post(&path, &service, grant("gift", 150)).await;
    assert_eq!(again.expect_data(200), json!({"seq": 1, "duplicate": true}));
    let bought = server.post("/me/commands", &token, buy.clone()).await;
    bought.expect_data(200);
    let again = server.post("/me/commands", &token, buy).await;
    again.expect_error("wrong_status");
    let equip = json!({"cmd": {"type": "equip", "item": "frame_bronze"}});
    let worn = server.post("/me/commands", &token, equip).await;
    worn.expect_data(200);

    let state = server.get("/me/state", &token).await.expect_data(200);
    let state = &state["state"];
    assert_eq!(state["items"], json!(["frame_bronze"]));
    assert_eq!(state["equipped"], json!({"frame": "frame_bronze"}));
    let left = 150 - 100 + 2 * 5;
    assert_eq!(state["coins"], left, "5 for each of two achievements");
    let admin = server.scoped_token(Scope::Admin);
    let audit = server.get("/admin/audit", &admin).await.expect_data(200);
    let details = audit.as_array().expect("entries").iter();
    let details: Vec<_> = details.map(|entry| &entry["details"]).collect();
    let granted = json!({"type": "grant_coins", "amount": 150});
    assert!(details.contains(&&granted), "{details:?}");
}

#[tokio::test(start_paused = true)]
async fn an_operators_correction_takes_effect_once_and_is_audited() {
    let server = RestServer::start().await;
    let ada = server.sign_in_guest("Ada").await;
    let token = json_text(&ada["access_token"]);
    let admin = server.scoped_token(Scope::Admin);
    let path = format!("/players/{}/commands", ada["player"]["id"]);
    let correct = |op: &str, field: &str, amount: i64| {
        let command =
            json!({"type": "correct", "field": field, "amount": amount, "note": "Paid twice"});
        json!({"op": op, "cmd": command})
    };
    let refused = server.post(&path, &admin, correct("a", "coins", -1)).await;
    refused.expect_error("not_enough_coins");
    let faulty = [
        ("xp", -1, "amount"),
        ("streak", -1, "amount"),
        ("level", 1, "field"),
    ];
    for (field, amount, fault) in faulty {
        let refused = server
            .post(&path, &admin, correct("b", field, amount))
            .await;
        assert_eq!(refused.invalid_fields(), [fault]);
    }
    for duplicate in [false, true] {
        let sent = server.post(&path, &admin, correct("c", "coins", 30)).await;
        let ack = json!({"seq": 1, "duplicate": duplicate});
        assert_eq!(sent.expect_data(200), ack);
    }
    let events = server.get("/me/events", &token).await.expect_data(200);
    assert_eq!(
        events[0]["data"],
        json!({"field": "coins", "from": 0, "to": 30, "by": "operator", "note": "Paid twice"})
    );
    let sent = server.post(&path, &admin, correct("d", "streak", 4)).await;
    assert_eq!(sent.expect_data(200), json!({"seq": 3, "duplicate": false}));
    let state = server.get("/me/state", &token).await.expect_data(200);
    assert_eq!(state["state"]["streak"]["days"], 4);
    let audit = server.get("/admin/audit", &admin).await.expect_data(200);
    let details = audit.as_array().expect("entries").iter();
    let details: Vec<_> = details.map(|entry| &entry["details"]).collect();
    let corrected = json!({"type": "correct", "field": "coins", "amount": 30});
    assert!(details.contains(&&corrected), "{details:?}");
}
